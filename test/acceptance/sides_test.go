package acceptance

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"nines/console"
)

// wires are three machines in network namespaces: the carrier's, ours with two cards, the room's. Nothing routes between the two networks.
type wires struct{ carrier, box, room string }

func newWires(t *testing.T) wires {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("ip is not installed: apt-get install iproute2")
	}
	id := fmt.Sprint(os.Getpid())
	w := wires{"nines-c" + id, "nines-b" + id, "nines-r" + id}
	for i, ns := range []string{w.carrier, w.box, w.room} {
		if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
			t.Skipf("no network namespaces here: %v: %s", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		w.ip(t, "-n", ns, "link", "set", "lo", "up")
		_ = i
	}
	w.ip(t, "-n", w.box, "link", "add", "out0", "type", "veth", "peer", "name", "eth0", "netns", w.carrier)
	w.ip(t, "-n", w.box, "link", "add", "in0", "type", "veth", "peer", "name", "eth0", "netns", w.room)
	for _, l := range [][3]string{{w.box, "out0", "198.51.100.1/24"}, {w.carrier, "eth0", "198.51.100.2/24"}, {w.box, "in0", "10.77.0.1/24"}, {w.room, "eth0", "10.77.0.2/24"}} {
		w.ip(t, "-n", l[0], "addr", "add", l[2], "dev", l[1])
		w.ip(t, "-n", l[0], "link", "set", l[1], "up")
	}
	return w
}

func (wires) ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// in is a command on one of the machines.
func (wires) in(ctx context.Context, ns string, command ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", ns}, command...)...)
	cmd.Dir = root
	return cmd
}

const sidesFile = `
listen:
  outside: { on: [udp://198.51.100.1:5060, tcp://198.51.100.1:5060], advertise: 203.0.113.10, media: 198.51.100.1 }
  inside: { on: [udp://10.77.0.1:5060, tcp://10.77.0.1:5060], media: 10.77.0.1 }
media: { address: 198.51.100.1, ports: 20000-20999 }
trunks:
  bt: { from: [198.51.100.2], via: outside }
endpoints:
  control-room: { uri: "sip:10.77.0.2:5060", calls: 10, via: inside }
routes:
  - { name: "999", class: emergency, numbers: ["999"], ask: [control-room] }
`

// A box with two network cards between networks that do not know each other: every message and every SDP carries the right side's addresses, or the call fails.
func TestACallCrossesABoxWithTwoNetworkCards(t *testing.T) {
	sipp := sippPath(t)
	w := newWires(t)
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	dir := shortDir(t)
	file := filepath.Join(dir, "nines.yaml")
	if err := os.WriteFile(file, []byte(sidesFile+"state: "+dir+"/state\nrun: "+dir+"/run\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := newLogBook("taking calls")
	box := w.in(ctx, w.box, program, "run", "--config", file, "--drain", "1s")
	box.Stderr = log
	seen := filepath.Join(dir, "room.log")
	room := w.in(ctx, w.room, sipp, "-sf", "test/sipp/room.xml", "-nostdin", "-i", "10.77.0.2", "-p", "5060", "-mi", "10.77.0.2", "-mp", "6200", "-rtp_echo", "-trace_msg", "-message_file", seen)
	for _, c := range []*exec.Cmd{box, room} {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	}
	eventually(t, 20*time.Second, "nines takes calls", func() bool { return len(log.with("taking calls")) > 0 })
	client := console.NewClient(filepath.Join(dir, "run"))
	eventually(t, time.Minute, "the room is up", func() bool { // SIPp may be slow to start
		st, err := client.Status(ctx)
		e, _ := st.Endpoint("control-room")
		return err == nil && e.Verdict == "up"
	})
	for _, transport := range []string{"u1", "t1"} {
		heard := filepath.Join(dir, "carrier-"+transport+".log")
		carrier := w.in(ctx, w.carrier, sipp, "-sf", "test/sipp/carrier.xml", "-nostdin", "-s", "999", "-i", "198.51.100.2", "-p", "5060", "-mi", "198.51.100.2", "-mp", "6300",
			"-m", "3", "-d", "300", "-t", transport, "-timeout", "30", "-trace_msg", "-message_file", heard, "198.51.100.1:5060")
		out := new(bytes.Buffer)
		carrier.Stdout, carrier.Stderr = out, out
		// The 200's Contact is what the outside calls us; here it is routed to the box as a firewall would.
		if transport == "u1" {
			w.ip(t, "-n", w.carrier, "route", "add", "203.0.113.10/32", "via", "198.51.100.1")
			w.ip(t, "-n", w.box, "addr", "add", "203.0.113.10/32", "dev", "lo")
		}
		if err := carrier.Run(); err != nil {
			t.Fatalf("three calls over %s: %v\n%s\n%s", transport, err, out, log.tail(20))
		}
		text, err := os.ReadFile(heard)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(text, []byte("203.0.113.10")) || bytes.Contains(text, []byte("10.77.")) {
			t.Errorf("over %s the carrier must see what it calls us, and nothing of the inside:\n%s", transport, text)
		}
	}
	text, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	if hit := regexp.MustCompile(`(?m)^(Via|Contact|c=|o=nines).*(198\.51\.100\.1|203\.0\.113\.10)\b`).Find(text); hit != nil {
		t.Errorf("the room sees an address of the outside: %s", hit)
	}
}
