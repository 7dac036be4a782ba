package acceptance

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sippPath finds SIPp, or skips the test.
func sippPath(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("sipp")
	if err != nil {
		t.Skip("SIPp is not installed: apt-get install sip-tester (make test does it)")
	}
	return path
}

// sipp runs a scenario of test/sipp; what is in args stands behind it on the command line.
func sipp(ctx context.Context, t *testing.T, scenario string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	path := sippPath(t)
	if !filepath.IsAbs(scenario) {
		scenario = "test/sipp/" + scenario
	}
	cmd := exec.CommandContext(ctx, path, append([]string{"-sf", scenario, "-nostdin"}, args...)...)
	cmd.Dir = root
	out := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, out
}

// sippRoom runs a control room in SIPp until the test ends.
func sippRoom(t *testing.T, p place, host int, scenario string, args ...string) *exec.Cmd {
	t.Helper()
	at := p.ip(host).String()
	cmd, out := sipp(context.Background(), t, scenario, append([]string{"-i", at, "-p", "5060", "-mi", at, "-mp", "6200", "-trace_err", "-error_file", t.TempDir() + "/errors"}, args...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }() // ends with the process
	t.Cleanup(func() {
		select {
		case err := <-exited:
			t.Errorf("%s at %s ended by itself: %v\n%s", scenario, at, err, out)
		default:
			_ = cmd.Process.Kill()
			if err := <-exited; err == nil {
				t.Errorf("%s at %s ended before it was killed\n%s", scenario, at, out)
			}
		}
	})
	return cmd
}

// sippCall places calls with SIPp and fails unless each went as its scenario says.
func sippCall(t *testing.T, p place, scenario string, args ...string) {
	t.Helper()
	if err := sippCalls(t, p, scenario, args...); err != nil {
		t.Fatal(err)
	}
}

// sippCalls is sippCall for goroutines.
func sippCalls(t *testing.T, p place, scenario string, args ...string) error {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // for who hangs; SIPp's own -timeout is there for who is slow
	defer cancel()
	at, errors := p.ip(200).String(), filepath.Join(t.TempDir(), "errors")
	all := []string{"-s", "999", "-i", at, "-mi", at, "-timeout", "50", "-timeout_error", "-trace_err", "-error_file", errors}
	cmd, out := sipp(ctx, t, scenario, append(append(all, args...), p.sip(1).String())...)
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(errors) // none: SIPp had nothing to say
		return fmt.Errorf("sipp %s: %w\n%s\n%s", strings.Join(cmd.Args[1:], " "), err, said, lastLines(out.String(), 30))
	}
	return nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

const twoRooms = head + `
trunks:
  carrier: { from: ["{200}/32"] }
endpoints:
  control-room: { uri: "sip:{10}:5060", calls: 1000 }
  standby: { uri: "sip:{11}:5060", calls: 1000 }
routes:
  - { name: "999", class: emergency, numbers: ["999"], ask: [control-room, standby], ringing: 2s }
health: { hold_down: 1s, up_after: 2, fail_back: probes }
`

// TestScenariosOfTheTesters runs every file of test/sipp as its comment says.
func TestScenariosOfTheTesters(t *testing.T) {
	sippPath(t)
	t.Parallel()
	tests := []struct {
		room    string
		as      string // the room's code instead of 486
		carrier string
		args    []string
		want    string // who has the call
		after   time.Duration
	}{
		{room: "room.xml", carrier: "carrier.xml", want: "control-room"},
		{room: "room.xml", carrier: "carrier.xml", args: []string{"-t", "t1"}, want: "control-room"},
		{room: "room.xml", carrier: "carrier-rtp.xml", args: []string{"-mp", "6100", "-l", "1", "-d", "3000"}, want: "control-room"},
		{room: "room-rings.xml", carrier: "carrier-cancels.xml"},
		{room: "room-refuses.xml", carrier: "carrier.xml", want: "standby"},
		{room: "room-refuses.xml", as: "503 Service Unavailable", carrier: "carrier.xml", want: "standby"},
		{room: "room-rings.xml", carrier: "carrier.xml", want: "standby", after: 2 * time.Second},
		{room: "room-tries.xml", carrier: "carrier.xml", want: "standby", after: 4 * time.Second},
		{room: "room-silent.xml", carrier: "carrier.xml", want: "standby", after: time.Second},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.room, tt.as, " and ", tt.carrier, tt.args), func(t *testing.T) {
			t.Parallel()
			p := newPlace()
			n := start(t, p, twoRooms)
			scenario := tt.room
			if tt.as != "" {
				scenario = filepath.Join(t.TempDir(), "room.xml")
				text, err := os.ReadFile(root + "/test/sipp/" + tt.room)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(scenario, bytes.Replace(text, []byte("486 Busy Here"), []byte(tt.as), 1), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			sippRoom(t, p, 10, scenario, "-rtp_echo", "-d", "50")
			sippRoom(t, p, 11, "room.xml", "-rtp_echo", "-d", "50")
			n.verdict("up", "control-room", "standby")
			begin := time.Now()
			sippCall(t, p, tt.carrier, append([]string{"-m", "1", "-d", "1000"}, tt.args...)...)
			if took := time.Since(begin); took < tt.after+time.Second {
				t.Errorf("the call was over after %v; the standby is not due before %v", took, tt.after)
			}
			if tt.want == "" {
				eventually(t, 5*time.Second, "the call is counted as cleared by its caller", func() bool { return n.status().Calls.Cleared == 1 })
				return
			}
			st := n.status()
			if st.Calls.Answered != 1 || st.Calls.Refused != 0 {
				t.Errorf("%d calls answered, %d refused; want 1, 0", st.Calls.Answered, st.Calls.Refused)
			}
			if lines := n.log.with(`"message":"call answered"`); len(lines) != 1 || !strings.Contains(lines[0], `"endpoint":"`+tt.want+`"`) {
				t.Errorf("answered by %q; want %s", lines, tt.want)
			}
			if strings.Contains(tt.carrier, "rtp") && st.Media.Packets < 240 { // what SIPp had no turn for at the end is missing
				t.Errorf("%d packets were relayed; three seconds of voice and its echo are about 300", st.Media.Packets)
			}
			n.empty(5 * time.Second)
		})
	}
}

// TestPrimaryDiesUnderSIPp is the main job with a tester's tools: SIPp calls and answers, kill -STOP, -KILL and a restart are the outage.
func TestPrimaryDiesUnderSIPp(t *testing.T) {
	sippPath(t)
	t.Parallel()
	p := newPlace()
	n := start(t, p, twoRooms)
	primary := sippRoom(t, p, 10, "room.xml", "-d", "20")
	sippRoom(t, p, 11, "room.xml", "-d", "20")
	n.verdict("up", "control-room", "standby")
	// SIPp calls until it is told to stop. Its exit code says that all were answered.
	at := p.ip(200).String()
	carrier, out := sipp(t.Context(), t, "carrier.xml", "-s", "999", "-i", at, "-mi", at, "-r", "30", "-d", "300", p.sip(1).String())
	if err := carrier.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- carrier.Wait() }() // ends with the process
	t.Cleanup(func() { _ = carrier.Process.Kill() })
	answeredBy := func(name string) int {
		return len(n.log.with(`"endpoint":"` + name + `","setup_ms"`))
	}
	eventually(t, 40*time.Second, "the control room answers", func() bool { return answeredBy("control-room") > 40 })
	if err := primary.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	before := answeredBy("standby")
	eventually(t, 40*time.Second, "the standby answers instead", func() bool { return answeredBy("standby") > before+40 })
	if err := primary.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	back := answeredBy("control-room")
	eventually(t, 40*time.Second, "the control room answers again", func() bool { return answeredBy("control-room") > back+10 })
	if err := carrier.Process.Signal(syscall.SIGUSR1); err != nil { // no new calls, and the end when the last is over
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Fatalf("%v\n%s", err, lastLines(out.String(), 30))
		}
	case <-time.After(time.Minute):
		t.Fatalf("SIPp does not end\n%s", n.log.tail(20))
	}
	eventually(t, 5*time.Second, "every call is counted", func() bool { c := n.status().Calls; return c.Total == 0 && c.Placed > 90 })
	if c := n.status().Calls; c.Answered != c.Placed || c.Refused != 0 {
		t.Errorf("%d of %d calls answered, %d refused; want all and none", c.Answered, c.Placed, c.Refused)
	}
	n.empty(40 * time.Second)
}
