package acceptance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"nines/console"
	"nines/internal/town"
)

// What stands at the other end in real life: a carrier's proxy, phones and a PBX of other makers, scanners. docs/INTEROP.md says what passed.

// other finds a program of somebody else, or skips the test.
func other(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/" + name); err != nil {
			t.Skipf("%s is not installed: apt-get install %s (make test does it as root)", name, pkg)
		}
	}
	return path
}

// running starts a program; kill ends it, and the test's end does.
func running(t *testing.T, path string, args ...string) (log *logBook, kill func()) {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	return runningCommand(t, cmd)
}

func runningCommand(t *testing.T, cmd *exec.Cmd) (log *logBook, kill func()) {
	t.Helper()
	log = newLogBook("")
	log.want = nil
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // some have children
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	t.Cleanup(func() {
		kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(cmd.Path), log.tail(40))
		}
	})
	return log, kill
}

// TestKamailioAsTheCarriersProxy: a carrier's proxy with a dispatcher probes nines and sends it the calls; it stays on their way by Record-Route.
func TestKamailioAsTheCarriersProxy(t *testing.T) {
	t.Parallel()
	kamailio := other(t, "kamailio", "kamailio")
	modules, _ := filepath.Glob("/usr/lib/*/kamailio/modules")
	if len(modules) == 0 {
		t.Skip("Kamailio's modules are not where Debian has them")
	}
	p := newPlace()
	primary := phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: town.Always(town.Answers(20 * time.Millisecond)), Voice: 20 * time.Millisecond})
	standby := phone(t, town.PhoneConfig{Name: "standby", Addr: p.sip(11), Script: town.Always(town.Answers(20 * time.Millisecond)), Voice: 20 * time.Millisecond})
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200), Voice: 20 * time.Millisecond})
	fallback := phone(t, town.PhoneConfig{Name: "fallback", Addr: p.sip(201), Script: town.Always(town.Answers(0)), Voice: 20 * time.Millisecond})
	n := start(t, p, strings.Replace(twoRooms, `"{200}/32"`, `"{210}/32"`, 1))
	n.verdict("up", "control-room", "standby")

	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join(root, "test/kamailio/carrier-proxy.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "dispatcher.list")
	conf := strings.NewReplacer("SELF", p.sip(210).String(), "FALLBACK", p.sip(201).String(), "MODULES", modules[0]+"/", "LIST", list).Replace(string(text))
	for name, text := range map[string]string{list: "1 sip:" + p.sip(1).String() + "\n", filepath.Join(dir, "kamailio.cfg"): conf} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	log, _ := running(t, kamailio, "-f", filepath.Join(dir, "kamailio.cfg"), "-Y", dir, "-P", filepath.Join(dir, "pid"), "-x", "fm", "-X", "fm", "-m", "32", "-M", "8")
	eventually(t, 30*time.Second, "Kamailio's dispatcher probes nines", func() bool { // nobody else is at the trunk's address
		return slices.ContainsFunc(n.status().Trunks, func(tr console.TrunkStatus) bool { return tr.Name == "carrier" && !tr.LastSeen.IsZero() })
	})

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	talk := func(d town.Dial) *town.Call {
		t.Helper()
		d.URI, d.Via = "sip:999@"+p.sip(210).String(), p.sip(210)
		c, err := carrier.Place(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Talks(ctx); err != nil {
			t.Fatalf("%v; Kamailio says:\n%s", err, log.tail(20))
		}
		eventually(t, 5*time.Second, "the caller is heard and hears", func() bool { return c.Record().Voice.Heard > 5 })
		return c
	}
	at := func(ph *town.Phone, n int) {
		t.Helper()
		eventually(t, 5*time.Second, fmt.Sprintf("the room has %d calls", n), func() bool { _, _, talking := ph.Live(); return talking == n })
	}

	c := talk(town.Dial{})
	at(primary, 1)
	c.Clear() // its BYE takes the recorded route
	at(primary, 0)

	talk(town.Dial{})
	at(primary, 1)
	for _, room := range primary.Calls() {
		room.Clear() // and the room's
	}
	eventually(t, 5*time.Second, "the caller hears the room's BYE", func() bool { _, _, talking := carrier.Live(); return talking == 0 })

	c = talk(town.Dial{})
	if code := <-c.Reinvite("sendonly"); code != 200 {
		t.Errorf("a hold got %d", code)
	}
	if code := <-c.Reinvite("sendrecv"); code != 200 {
		t.Errorf("its end got %d", code)
	}
	c.Clear()
	at(primary, 0)

	primary.Script(town.Always(town.Rings(0)))
	ring, err := carrier.Place(town.Dial{URI: "sip:999@" + p.sip(210).String(), Via: p.sip(210), CancelAfter: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Ends(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "nothing rings after the CANCEL", func() bool { _, ringing, _ := primary.Live(); return ringing == 0 })

	primary.Kill()
	c = talk(town.Dial{})
	at(standby, 1)
	c.Clear()
	at(standby, 0)

	standby.Script(town.Always(town.Refuses(503, 0)))
	c = talk(town.Dial{}) // nines says 500, never 503, and the carrier's own fallback answers
	at(fallback, 1)
	c.Clear()
	n.empty(10 * time.Second)
}

// baresip is a phone by another maker, driven through its control port. It sends its audio from whatever address the system likes best, on loopback
// 127.0.0.1, so that is where all of them are; ports tell them apart.
type baresip struct {
	t    *testing.T
	name string
	sip  netip.AddrPort
	kill func()
	ctl  net.Conn
	in   *bufio.Reader
	seen []map[string]any // events that nobody has waited for yet
}

// ports counts those that were given.
var ports atomic.Uint32

// freePort is a port of 127.0.0.1, or of another address, that nobody has now, for UDP and TCP, and neither the one after it: baresip takes that for TLS.
// Nobody else gets it before it is used: it is none that the kernel gives, or baresip takes for its audio, another run of these tests counts elsewhere (see
// claimNetwork), and it is long until it is given again.
func freePort(t *testing.T, of ...netip.Addr) netip.AddrPort {
	t.Helper()
	const pairs = 25
	host := append(of, netip.AddrFrom4([4]byte{127, 0, 0, 1}))[0]
	for range pairs {
		port := uint16(20000 + 2*((district.Load()-40)*pairs+ports.Add(1)%pairs))
		if free(host, port) && free(host, port+1) {
			return netip.AddrPortFrom(host, port)
		}
	}
	t.Fatal("no port is free for both UDP and TCP")
	return netip.AddrPort{}
}

// free says whether nobody has a port.
func free(host netip.Addr, port uint16) bool {
	at := netip.AddrPortFrom(host, port).String()
	l, err := net.Listen("tcp", at)
	if err != nil {
		return false
	}
	defer l.Close()
	c, err := net.ListenPacket("udp", at)
	if err != nil {
		return false
	}
	return c.Close() == nil
}

// newBaresip starts a phone. params go behind its account, more are lines for its configuration.
func newBaresip(t *testing.T, sip netip.AddrPort, user, params string, tone int, more ...string) *baresip {
	t.Helper()
	path := other(t, "baresip", "baresip-core")
	modules, _ := filepath.Glob("/usr/lib/baresip/modules")
	if more2, _ := filepath.Glob("/usr/lib/*/baresip/modules"); len(modules) == 0 {
		modules = more2
	}
	if len(modules) == 0 {
		t.Skip("baresip's modules are not where Debian has them")
	}
	dir := t.TempDir()
	control := freePort(t)
	conf := fmt.Sprintf(`poll_method epoll
sip_listen %[1]s
call_local_timeout 120
call_max_calls 10
audio_player aubridge,x
audio_source ausine,%[2]d
audio_alert aubridge,x
audio_level no
ausrc_srate 48000
auplay_srate 48000
ausrc_channels 2
auplay_channels 2
rtp_ports 40000-49999
rtp_stats yes
net_interface %[5]s
module_path %[3]s
module g711.so
module opus.so
module ausine.so
module aubridge.so
module srtp.so
module ctrl_tcp.so
module_app account.so
module_app menu.so
ctrl_tcp_listen %[4]s
`, sip, tone, modules[0], control, sip.Addr()) + strings.Join(more, "\n") + "\n"
	account := fmt.Sprintf("<sip:%s@%s>;regint=0%s\n", user, sip, params)
	for name, text := range map[string]string{"config": conf, "accounts": account, "contacts": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, kill := running(t, path, "-f", dir)
	b := &baresip{t: t, name: user, sip: sip, kill: kill}
	eventually(t, time.Minute, user+"'s control port is open", func() bool {
		var err error
		b.ctl, err = net.Dial("tcp", control.String())
		return err == nil
	})
	t.Cleanup(func() { _ = b.ctl.Close() })
	b.in = bufio.NewReader(b.ctl)
	return b
}

// read takes one netstring.
func (b *baresip) read(until time.Time) (map[string]any, error) {
	if err := b.ctl.SetReadDeadline(until); err != nil {
		return nil, err
	}
	size, err := b.in.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.Trim(size, ", :\n"))
	if err != nil {
		return nil, fmt.Errorf("a netstring of length %q: %w", size, err)
	}
	text := make([]byte, n+1)
	if _, err := io.ReadFull(b.in, text); err != nil {
		return nil, err
	}
	var m map[string]any
	return m, json.Unmarshal(text[:n], &m)
}

// do gives a command and waits for its answer.
func (b *baresip) do(command, params string) string {
	b.t.Helper()
	text, err := json.Marshal(map[string]string{"command": command, "params": params, "token": command})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(b.ctl, "%d:%s,", len(text), text); err != nil {
		b.t.Fatalf("%s: %v", b.name, err)
	}
	for until := time.Now().Add(10 * time.Second); ; {
		m, err := b.read(until)
		if err != nil {
			b.t.Fatalf("%s does not answer %s: %v", b.name, command, err)
		}
		if m["response"] == true {
			if m["ok"] != true {
				b.t.Errorf("%s said of %s: %v", b.name, command, m)
			}
			s, _ := m["data"].(string)
			return s
		}
		b.seen = append(b.seen, m)
	}
}

// event waits for one of baresip's events.
func (b *baresip) event(kind string) map[string]any {
	b.t.Helper()
	for i, m := range b.seen {
		if m["type"] == kind {
			b.seen = b.seen[i+1:]
			return m
		}
	}
	b.seen = nil
	for until := time.Now().Add(30 * time.Second); ; {
		m, err := b.read(until)
		if err != nil {
			b.t.Fatalf("%s: no %s came: %v", b.name, kind, err)
		}
		if m["type"] == kind {
			return m
		}
	}
}

// forgets drops the events of a call that is over, or never was its own.
func (b *baresip) forgets() {
	b.t.Helper()
	b.do("reginfo", "") // what came before the answer came before it
	b.seen = nil
}

// forBaresip has two rooms, which are a PBX's ends in real life.
func forBaresip(room, second netip.AddrPort) string {
	return head + fmt.Sprintf(`
trunks: { bt: { from: ["127.0.0.1/32"] } }
endpoints: { room: { uri: "sip:room@%s" }, second: { uri: "sip:room@%s" } }
routes: [{ name: "999", class: emergency, numbers: ["999"], ask: [room, second] }]
`, room, second)
}

// TestBaresipCallsAndAnswers: both ends are phones by another maker. Each codec passes, hold and its end, and key presses.
func TestBaresipCallsAndAnswers(t *testing.T) {
	t.Parallel()
	for _, codec := range []string{"pcma", "pcmu", "opus/48000/2"} {
		name, _, _ := strings.Cut(codec, "/")
		t.Run(name, func(t *testing.T) {
			p := newPlace()
			at := freePort(t)
			n := start(t, p, forBaresip(at, freePort(t)))
			room := newBaresip(t, at, "room", ";audio_codecs="+codec, 440)
			caller := newBaresip(t, freePort(t), "caller", ";audio_codecs="+codec, 880)
			n.verdict("up", "room")

			caller.do("dial", "sip:999@"+p.sip(1).String())
			room.event("CALL_INCOMING")
			caller.event("CALL_RINGING")
			room.do("accept", "")
			room.event("CALL_ESTABLISHED")
			caller.event("CALL_ESTABLISHED")
			if said := caller.do("callstat", ""); !strings.Contains(strings.ToLower(said), name) {
				t.Errorf("the call does not talk %s:\n%s", name, said)
			}
			relayed := func(more uint64) {
				t.Helper()
				from := n.status().Media.Packets
				eventually(t, 10*time.Second, fmt.Sprintf("%d packets pass", more), func() bool { return n.status().Media.Packets >= from+more })
			}
			relayed(100)

			caller.do("sndcode", "5")
			caller.do("sndcode", "\x04") // the key is let go
			if got := room.event("CALL_DTMF_START"); got["param"] != "5" {
				t.Errorf("the room heard %v, want the key 5", got)
			}

			caller.do("hold", "")
			room.event("CALL_REMOTE_SDP")
			caller.do("resume", "")
			room.event("CALL_REMOTE_SDP")
			relayed(100)

			room.do("hangup", "")
			caller.event("CALL_CLOSED")
			n.empty(10 * time.Second)
		})
	}
}

// TestBaresipIsRescued: the room is killed in the middle of the call, and the caller's phone, which knows nothing of it, hears another.
func TestBaresipIsRescued(t *testing.T) {
	t.Parallel()
	p := newPlace()
	one, two := freePort(t), freePort(t)
	n := start(t, p, forBaresip(one, two))
	first := newBaresip(t, one, "room", ";audio_codecs=pcma", 660)
	second := newBaresip(t, two, "room", ";audio_codecs=pcma", 440)
	caller := newBaresip(t, freePort(t), "caller", ";audio_codecs=pcma", 880)
	n.verdict("up", "room", "second")
	caller.do("dial", "sip:999@"+p.sip(1).String())
	first.event("CALL_INCOMING")
	first.do("accept", "")
	caller.event("CALL_ESTABLISHED")
	from := n.status().Media.Packets
	eventually(t, 10*time.Second, "they talk", func() bool { return n.status().Media.Packets >= from+200 })
	second.forgets() // where the first took its time it was asked as well
	first.kill()
	second.event("CALL_INCOMING")
	second.do("accept", "")
	second.event("CALL_ESTABLISHED")
	eventually(t, 10*time.Second, "the call is rescued", func() bool { return n.status().Rescues.Rescued == 1 })
	caller.do("hangup", "")
	second.event("CALL_CLOSED")
	n.empty(10 * time.Second)
}

// TestScannersFindNothing: sipsak and SIPVicious from an address that is no trunk's hear nothing.
func TestScannersFindNothing(t *testing.T) {
	t.Parallel()
	p := newPlace()
	phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: town.Always(town.Answers(0))})
	phone(t, town.PhoneConfig{Name: "standby", Addr: p.sip(11), Script: town.Always(town.Answers(0))})
	node := start(t, p, twoRooms)
	t.Run("sipsak", func(t *testing.T) {
		sipsak := other(t, "sipsak", "sipsak")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, sipsak, "-vv", "-D", "2", "-s", "sip:nines@"+p.sip(1).String()).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || bytes.Contains(out, []byte("SIP/2.0 200")) {
			t.Errorf("sipsak, whose address is no trunk's, got an answer (%v):\n%s", err, out)
		}
	})
	t.Run("sipvicious", func(t *testing.T) {
		svmap, err := exec.LookPath("svmap")
		if err != nil {
			if svmap, err = exec.LookPath("sipvicious_svmap"); err != nil {
				t.Skip("SIPVicious is not installed: apt-get install sipvicious (make test does it as root)")
			}
		}
		dropped := func() (n uint64) {
			for _, d := range node.status().SIP.Dropped {
				n += d
			}
			return n
		}
		before := dropped()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		for _, method := range []string{"OPTIONS", "INVITE", "REGISTER"} {
			out, _ := exec.CommandContext(ctx, svmap, "-m", method, p.ip(1).String()).CombinedOutput()
			if !bytes.Contains(out, []byte("found nothing")) {
				t.Errorf("svmap with %s found something:\n%s", method, out)
			}
		}
		if got := dropped(); got == before {
			t.Errorf("nines has dropped %d messages after the scans, as before", got)
		}
	})
}
