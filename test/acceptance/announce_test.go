package acceptance

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"nines/console"
	"nines/internal/town"
	"nines/media/voice"
)

// outageOf101 is a dead control room, a standby for emergency calls, and a routine route with a text of its own.
const outageOf101 = head + `
trunks:
  carrier: { from: ["{200}/32", "{201}/32"] }
endpoints:
  control-room: { uri: "sip:{10}:5060", calls: 1000 }
  partner: { uri: "sip:{11}:5060", calls: 1000, partner: true }
routes:
  - { name: "999", class: emergency, numbers: ["999"], ask: [control-room, partner] }
  - name: "101"
    class: routine
    numbers: ["101"]
    ask: [control-room]
    otherwise: [{ announce: ours, escape: { digit: "9", to: "999" } }]
announcements:
  ours: { files: [ours.wav], times: 2 }
`

// wav is a second of a tone as a WAV file: 16 bits, 8 kHz.
func wav(hertz float64) []byte {
	const rate, length = 8000, 8000
	var b bytes.Buffer
	b.WriteString("RIFF")
	_ = binary.Write(&b, binary.LittleEndian, uint32(36+2*length))
	b.WriteString("WAVEfmt ")
	_ = binary.Write(&b, binary.LittleEndian, []uint16{16, 0, 1, 1, rate, 0, 2 * rate, 0, 2, 16})
	b.WriteString("data")
	_ = binary.Write(&b, binary.LittleEndian, uint32(2*length))
	for i := range length {
		_ = binary.Write(&b, binary.LittleEndian, int16(8000*math.Sin(2*math.Pi*hertz*float64(i)/rate)))
	}
	return b.Bytes()
}

// payloads are a recording as a caller hears it who has G.711 A-law.
func payloads(t *testing.T, file []byte) []byte {
	t.Helper()
	tape, err := voice.ParseWAV("ours.wav", file)
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for i := range tape.Frames() {
		b = append(b, tape.Payload(voice.PCMA, i)...)
	}
	return b
}

// crisis is nines in an outage, with a carrier for 101 and one for 999.
type crisis struct {
	t                  *testing.T
	place              place
	routine, emergency *town.Phone
	control, partner   *town.Phone
	node               *node
	file               string // of the announcement
	tape               []byte
}

func inCrisis(t *testing.T) *crisis {
	t.Helper()
	c := &crisis{t: t, place: newPlace()}
	quick := 20 * time.Millisecond
	c.control = phone(t, town.PhoneConfig{Name: "control-room", Addr: c.place.sip(10), Script: town.Always(town.Refuses(500, 0)), Voice: quick})
	c.partner = phone(t, town.PhoneConfig{Name: "partner", Addr: c.place.sip(11), Script: town.Always(town.Picked()), Voice: quick})
	c.routine = phone(t, town.PhoneConfig{Name: "routine", Addr: c.place.sip(200), Voice: 200 * time.Millisecond})
	c.emergency = phone(t, town.PhoneConfig{Name: "emergency", Addr: c.place.sip(201)})
	c.node = &node{t: t, place: c.place, dir: shortDir(t)}
	c.node.config = filepath.Join(c.node.dir, "nines.yaml")
	c.file = filepath.Join(c.node.dir, "ours.wav")
	c.replace(wav(440))
	c.tape = payloads(t, wav(440))
	c.node.write(outageOf101)
	c.node.launch()
	c.node.verdict("up", "partner")
	c.node.announces()
	return c
}

// announces waits until the recordings are ready. No start waits for them for longer than a second.
func (n *node) announces() {
	n.t.Helper()
	eventually(n.t, time.Minute, "the announcements are ready", func() bool {
		return !slices.ContainsFunc(n.status().Notices, func(s string) bool { return strings.Contains(s, "nothing can be announced") })
	})
}

// replace puts another file in the place of the announcement, as an editor does.
func (c *crisis) replace(with []byte) {
	c.t.Helper()
	if err := os.WriteFile(c.file+".new", with, 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(c.file+".new", c.file); err != nil {
		c.t.Fatal(err)
	}
}

// emergencies places so many emergency calls at ten a second, each of a second, and gives how long each waited for its answer.
func (c *crisis) emergencies(n int) []time.Duration {
	c.t.Helper()
	pace := time.NewTicker(100 * time.Millisecond)
	defer pace.Stop()
	var calls []*town.Call
	for range n {
		<-pace.C
		call, err := c.emergency.Place(town.Dial{URI: "sip:999@" + c.place.sip(1).String(), TalkFor: time.Second})
		if err != nil {
			c.t.Fatal(err)
		}
		calls = append(calls, call)
	}
	var waited []time.Duration
	for _, call := range calls {
		ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
		if err := call.Talks(ctx); err != nil {
			c.t.Errorf("an emergency call was not answered: %v", err)
		} else {
			r := call.Record()
			waited = append(waited, r.Answer.Sub(r.Asked))
		}
		cancel()
	}
	slices.Sort(waited)
	return waited
}

// callers place so many routine calls, so many a second, and say when all are over.
func (c *crisis) callers(n, rate int, over chan<- []town.Record) {
	pace := time.NewTicker(time.Second / time.Duration(rate))
	defer pace.Stop()
	var calls []*town.Call
	for i := range n {
		<-pace.C
		call, err := c.routine.Place(town.Dial{URI: "sip:101@" + c.place.sip(1).String(), From: fmt.Sprintf("+44190500%04d", i), Tapes: true})
		if err != nil {
			c.t.Error(err)
			break
		}
		calls = append(calls, call)
	}
	var records []town.Record
	for _, call := range calls {
		ctx, cancel := context.WithTimeout(c.t.Context(), 60*time.Second)
		if err := call.Ends(ctx); err != nil {
			c.t.Errorf("an announced call does not end: %v", err)
		}
		cancel()
		records = append(records, call.Record())
	}
	over <- records
}

// TestFiftyRoutineCallersASecondHearTheTextAndNoEmergencyIsSlower: issue of the outage in which 101 just died. The file is taken away, cut and replaced
// meanwhile; that changes what is heard, never a call.
func TestFiftyRoutineCallersASecondHearTheTextAndNoEmergencyIsSlower(t *testing.T) {
	c := inCrisis(t)
	before := c.emergencies(50)
	over := make(chan []town.Record, 1)
	go c.callers(600, 50, over) // ends by itself; what it did is waited for below
	during := c.emergencies(100)
	whole, otherwise := 0, 0
	twice := append(bytes.Clone(c.tape), c.tape...)
	for _, r := range <-over {
		switch {
		case !slices.Equal(r.Finals, []int{200}) || r.End != town.ByPeer:
			t.Errorf("a routine caller got %v and the call was ended by %v, want one 200 and our BYE", r.Finals, r.End)
		case bytes.Equal(r.Voice.Tape, twice):
			whole++
		default:
			otherwise++
			at := 0
			for at < min(len(twice), len(r.Voice.Tape)) && twice[at] == r.Voice.Tape[at] {
				at++
			}
			t.Logf("a caller heard %d bytes of %d, and the first %d are right: sent %d, late %d, of streams %d, from %v to %v", len(r.Voice.Tape), len(twice), at, r.Voice.Sent, r.Voice.Late, r.Voice.Streams, r.Voice.First, r.Voice.Last)
		}
		if r.Voice.Changed != 0 || r.Voice.Foreign != 0 {
			t.Errorf("a caller heard %d changed packets and %d of others", r.Voice.Changed, r.Voice.Foreign)
		}
	}
	t.Logf("%d callers heard the text twice, byte by byte; %d otherwise", whole, otherwise)
	if whole < 590 { // a packet may be lost on a busy loopback
		t.Errorf("%d of 600 callers heard the text whole", whole)
	}
	if len(before) != 50 || len(during) != 100 {
		t.Fatalf("%d of 50 emergency calls were answered before, %d of 100 during the rush; want all", len(before), len(during))
	}
	quiet, rush := before[len(before)*95/100], during[len(during)*95/100]
	t.Logf("emergency calls waited %v at most in 95 of 100 cases before the rush, %v during it", quiet, rush)
	if rush > quiet+250*time.Millisecond {
		t.Errorf("95 of 100 emergency calls waited up to %v in the rush, %v before; want no difference that a caller notices", rush, quiet)
	}
	c.node.empty(10 * time.Second)
	if st := c.node.status(); st.Routine.Announced != 600 || st.Routine.Announcing != 0 {
		t.Errorf("nines counts %d announced, %d now; want 600 and 0", st.Routine.Announced, st.Routine.Announcing)
	}
}

func TestTheFileOfAnAnnouncementIsTakenAwayCutAndReplacedUnderLoad(t *testing.T) {
	c := inCrisis(t)
	over := make(chan []town.Record, 1)
	go c.callers(400, 20, over) // 20 s
	spoil := []func(){
		func() { _ = os.Remove(c.file) },
		func() { c.replace(wav(440)[:1000]) },
		func() { c.replace([]byte("this is no WAV file")) },
		func() { c.replace(wav(880)) },
		func() { // 4 GiB of nothing
			f, err := os.Create(c.file)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			if err := f.Truncate(4 << 30); err != nil {
				t.Error(err)
			}
		},
	}
	answered := 0
	for _, do := range spoil {
		do()
		answered += len(c.emergencies(25))
		if out, code := c.node.cli("reload"); code > 1 {
			t.Errorf("reload: exit %d, %s", code, out)
		}
	}
	if answered != 25*len(spoil) {
		t.Errorf("%d of %d emergency calls were answered", answered, 25*len(spoil))
	}
	heard := 0
	for _, r := range <-over {
		if !slices.Equal(r.Finals, []int{200}) || len(r.Voice.Tape) == 0 {
			t.Errorf("a routine caller got %v and heard %d bytes; want 200 and a text, be it the built-in one", r.Finals, len(r.Voice.Tape))
			continue
		}
		heard++
	}
	t.Logf("%d callers were announced to while the file changed", heard)
	if said := c.node.log.with("callers hear the built-in text"); len(said) == 0 {
		t.Error("the log does not say that the built-in text is heard")
	}
	c.replace(wav(440))
	if out, code := c.node.cli("reload"); code != 0 {
		t.Errorf("reload: exit %d, %s", code, out)
	}
	eventually(t, 40*time.Second, "with the file back and a reload the caller hears it twice", func() bool {
		go c.callers(1, 10, over)
		return bytes.Equal((<-over)[0].Voice.Tape, append(bytes.Clone(c.tape), c.tape...))
	})
}

// withoutEvents takes telephone-event out of a phone's offer.
var withoutEvents = strings.NewReplacer("a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n", "", " 101\r\n", "\r\n")

func TestKeyNineLeadsToAPersonWhoSeesTheCallersNumber(t *testing.T) {
	t.Parallel()
	c := inCrisis(t)
	for _, by := range []string{"event", "info", "tone"} {
		dial := town.Dial{URI: "sip:101@" + c.place.sip(1).String(), From: "+441905123456", Tapes: true}
		if by == "tone" { // a telephone that knows no events: the key is in its sound
			dial.Wrap = func(sdp string) (string, []byte) { return "application/sdp", []byte(withoutEvents.Replace(sdp)) }
		}
		call, err := c.routine.Place(dial)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := call.Talks(ctx); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "the caller hears the text", func() bool { return len(call.Record().Voice.Tape) > 0 })
		switch by {
		case "event":
			call.Press('9')
		case "tone":
			call.Mute(true) // its speech here is no speech, and would stand between the packets of the tone
			await(t, 300*time.Millisecond)
			call.Tone('9')
			await(t, 300*time.Millisecond)
			call.Mute(false)
		default:
			if code := <-call.Ask("INFO", "application/dtmf-relay", []byte("Signal=9\r\nDuration=100\r\n")); code != 200 {
				t.Errorf("INFO got %d", code)
			}
		}
		var there *town.Record
		eventually(t, 10*time.Second, "the partner talks to the caller", func() bool {
			there = record(c.partner, call.Record().ID)
			return there != nil && there.State == town.Talking && there.Voice.Heard > 0
		})
		if from := there.Invite.Get("From"); !strings.Contains(from, "+441905123456") {
			t.Errorf("the partner sees %q, want the caller's number", from)
		}
		eventually(t, 5*time.Second, "the caller hears the partner", func() bool { return call.Record().Voice.Heard > 10 })
		if r := call.Record(); !slices.Equal(r.Finals, []int{200}) {
			t.Errorf("the caller got %v, want one 200: the call is the same", r.Finals)
		}
		call.Clear()
		c.node.empty(10 * time.Second)
	}
	if st := c.node.status(); st.Routine.Escaped != 3 {
		t.Errorf("nines counts %d who went to a person, want 3", st.Routine.Escaped)
	}
}

func TestAnOrderToTreat101AsEmergencySurvivesKill9(t *testing.T) {
	t.Parallel()
	c := inCrisis(t)
	if out, code := c.node.cli("treat", "101", "as", "emergency", "--for", "1h", "--why", "999 is down", "--by", "alice"); code != 0 || !strings.HasPrefix(out, "calls to 101 are emergencies until ") {
		t.Fatalf("nines treat: exit %d, %q", code, out)
	}
	c.node.kill9()
	c.node.launch()
	c.node.verdict("up", "partner")
	c.node.announces()
	var list console.TreatList
	out, code := c.node.cli("treats", "--json")
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list.Treats) != 1 || list.Treats[0].By != "alice" || list.Treats[0].Why != "999 is down" || list.NotKept != "" {
		t.Fatalf("after kill -9 nines treats says %q, exit %d; want alice's order", out, code)
	}
	answers := func() string {
		call, err := c.routine.Place(town.Dial{URI: "sip:101@" + c.place.sip(1).String(), Tapes: true})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := call.Talks(ctx); err != nil {
			t.Fatal(err)
		}
		defer call.Clear()
		if r := record(c.partner, call.Record().ID); r != nil {
			return "partner"
		}
		return "nobody but us"
	}
	if got := answers(); got != "partner" {
		t.Errorf("101 treated as emergency is answered by %s, want the partner", got)
	}
	if out, code := c.node.cli("untreat", "101", "--by", "bob"); code != 0 || !strings.HasPrefix(out, "calls to 101 are routine again") {
		t.Errorf("nines untreat: exit %d, %q", code, out)
	}
	if got := answers(); got != "nobody but us" {
		t.Errorf("101 as routine is answered by %s, want the announcement", got)
	}
	if out, code := c.node.cli("untreat", "101", "--by", "bob"); code == 0 || !strings.Contains(out, "is not treated as emergency") {
		t.Errorf("a second untreat: exit %d, %q", code, out)
	}
}

// TestSIPpHears101 plays the testers' scenario of a routine caller.
func TestSIPpHears101(t *testing.T) {
	sippPath(t)
	t.Parallel()
	c := inCrisis(t)
	c.routine.Close()
	sippCall(t, c.place, "carrier-101.xml", "-key", "digit", "5", "-s", "101", "-m", "5", "-r", "5")
	if st := c.node.status(); st.Routine.Announced != 5 {
		t.Errorf("nines counts %d who were announced to, want 5", st.Routine.Announced)
	}
	c.node.empty(5 * time.Second)
}

// TestWhoOffersNothing: an INVITE to 101 without an offer gets ours. Who answers it in the ACK hears the announcement, at the address that the answer has; who does
// not is told good-bye, and not left in silence.
func TestWhoOffersNothing(t *testing.T) {
	t.Parallel()
	c := inCrisis(t)
	p := c.place
	for name, answer := range map[string]string{"answers": offer, "does not": ""} {
		t.Run(name, func(t *testing.T) {
			s, sound := listen(t, p.at(200, 0)), listen(t, p.at(200, 0))
			to101 := func(method string, d dialog) []byte {
				return bytes.ReplaceAll(request(method, s.at, p, d), []byte("sip:112@"), []byte("sip:101@"))
			}
			id := unique()
			invite := to101("INVITE", dialog{callID: id})
			s.says(t, p.sip(1), invite)
			m := s.answers(t, invite, 20*time.Second)
			if m.Code != 200 || !strings.Contains(string(m.Body), "m=audio ") || !strings.Contains(string(m.Body), "RTP/AVP 8 0 9 101") {
				t.Fatalf("it got %d with\n%s\nwant 200 with an offer", m.Code, m.Body)
			}
			answer = regexp.MustCompile(`m=audio \d+`).ReplaceAllString(answer, fmt.Sprint("m=audio ", sound.at.Port()))
			s.says(t, p.sip(1), to101("ACK", dialog{callID: id, toTag: toTag(m), cseq: "1 ACK", body: answer}))
			if answer == "" {
				for {
					data, _, ok := s.hears(t, 10*time.Second)
					if !ok {
						t.Fatal("no BYE came in ten seconds")
					}
					if bytes.HasPrefix(data, []byte("BYE ")) {
						return
					}
				}
			}
			var heard []byte
			for range 40 {
				data, _, ok := sound.hears(t, 10*time.Second)
				if !ok || len(data) != 172 {
					t.Fatalf("%d bytes of the announcement came, then %d", len(heard), len(data))
				}
				heard = append(heard, data[12:]...)
			}
			if !bytes.HasPrefix(c.tape, heard) {
				t.Error("what came is not the announcement's beginning")
			}
			s.says(t, p.sip(1), to101("BYE", dialog{callID: id, toTag: toTag(m), cseq: "2 BYE"}))
		})
	}
	c.node.empty(10 * time.Second)
}
