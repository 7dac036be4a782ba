package town

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// line is a carrier and a control room on one wire.
type line struct {
	net           *Network
	carrier, room *Phone
	ladder        *Ladder
}

// newLine makes them inside the bubble; they close with the test.
func newLine(t *testing.T, seed uint64, edit func(carrier, room *PhoneConfig)) *line {
	t.Helper()
	n := NewNetwork(seed)
	n.Everywhere(Path{Delay: 10 * time.Millisecond})
	ladder := NewLadder(n)
	carrier := PhoneConfig{Name: "carrier", Net: n.Host("carrier", addrA), Addr: netip.AddrPortFrom(addrA, 5060), Seed: seed, TCP: true}
	room := PhoneConfig{Name: "room", Net: n.Host("room", addrB, addr6), Addr: netip.AddrPortFrom(addrB, 5060), Seed: seed + 1, TCP: true}
	if edit != nil {
		edit(&carrier, &room)
	}
	l := &line{net: n, ladder: ladder, carrier: newPhone(t, carrier), room: newPhone(t, room)}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("\n%s", l.ladder)
		}
	})
	return l
}

func newPhone(t *testing.T, cfg PhoneConfig) *Phone {
	t.Helper()
	p, err := NewPhone(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func (l *line) dial(t *testing.T, d Dial) *Call {
	t.Helper()
	d.URI = "sip:999@" + l.room.Addr().String()
	c, err := l.carrier.Place(d)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// quiet checks that nothing is left at either phone and nobody broke a rule.
func (l *line) quiet(t *testing.T) {
	t.Helper()
	for _, p := range []*Phone{l.carrier, l.room} {
		if asked, ringing, talking := p.Live(); asked+ringing+talking != 0 {
			t.Errorf("%s has %d asked, %d ringing, %d talking calls left, want none", p.Name(), asked, ringing, talking)
		}
		if wrong := p.Wrong(); len(wrong) != 0 {
			t.Errorf("%s complains:\n%s", p.Name(), strings.Join(wrong, "\n"))
		}
	}
}

func TestCallRingsTalksAndEnds(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		t.Run(fmt.Sprintf("tcp %v", tcp), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLine(t, 1, func(carrier, room *PhoneConfig) {
					carrier.Voice, room.Voice = 20*time.Millisecond, 20*time.Millisecond
				})
				c := l.dial(t, Dial{From: "+441905000001", TalkFor: 5 * time.Second, TCP: tcp, Headers: []Header{{"Geolocation", "<cid:here>"}}})
				there, err := l.room.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Ends(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				mine, theirs := c.Record(), there.Record()
				if diff := cmp.Diff([]any{mine.Provisionals, mine.Finals, mine.End, theirs.Finals, theirs.End, theirs.Requests, mine.Replies},
					[]any{[]int{180}, []int{200}, ByUs, []int{200}, ByPeer, []string{"BYE"}, []string{"BYE 200"}}); diff != "" {
					t.Errorf("the two ends remember (-got +want):\n%s", diff)
				}
				if got := mine.Delay().Round(10 * time.Millisecond); !tcp && got != 1020*time.Millisecond {
					t.Errorf("the set-up took %v, want a second and two ways", got)
				}
				if got := theirs.Invite.Get("Geolocation"); got != "<cid:here>" {
					t.Errorf("the room saw Geolocation %q", got)
				}
				if mine.ID != theirs.ID {
					t.Errorf("one conversation has two names, %s and %s", mine.ID, theirs.ID)
				}
				for _, v := range []Voice{mine.Voice, theirs.Voice} {
					if v.Heard < 245 || v.Changed+v.Foreign+v.Missing+v.Repeated+v.BadType != 0 || v.Gap > 21*time.Millisecond {
						t.Errorf("five seconds of audio were %+v, want about 250 packets, all good", v)
					}
				}
				l.quiet(t)
			})
		})
	}
}

func TestEveryBehaviour(t *testing.T) {
	tests := []struct {
		name   string
		script Behaviour
		dial   Dial
		want   string // provisionals, finals, end at the caller
		room   string // state and end at the room
	}{
		{"answers", Answers(time.Second), Dial{TalkFor: time.Second}, "[180] [200] our BYE", "over their BYE"},
		{"ignores", Ignores(), Dial{}, "[] [] silence", "ignored not yet"},
		{"100 only, then the caller clears", TriesOnly(), Dial{CancelAfter: 3 * time.Second}, "[100] [487] CANCEL", "over CANCEL"},
		{"rings, then the caller clears", Rings(time.Second), Dial{CancelAfter: 3 * time.Second}, "[100 180] [487] CANCEL", "over CANCEL"},
		{"busy", Refuses(486, time.Second), Dial{}, "[100] [486] refusal", "over refusal"},
		{"declines", Refuses(603, 0), Dial{}, "[100] [603] refusal", "over refusal"},
		{"redirects", Redirects("sip:999@10.0.0.9"), Dial{}, "[] [302] refusal", "over refusal"},
		{"answers without a session", AnswersEmpty(time.Second), Dial{}, "[180] [200] our BYE", "over their BYE"},
		{"answers from nowhere", AnswersElsewhere(0, "sip:x@10.9.9.9:5060"), Dial{}, "[180] [200] their BYE", "over silence"},
		{"early media", EarlyMedia(time.Second, false), Dial{TalkFor: time.Second}, "[183] [200] our BYE", "over their BYE"},
		{"reliable early media", EarlyMedia(time.Second, true), Dial{TalkFor: time.Second, Prack: true}, "[183] [200] our BYE", "over their BYE"},
		{"garbage", Garbles(), Dial{}, "[] [] silence", "asked not yet"},
		{"rings, then vanishes", RingsThenFreezes(time.Second), Dial{CancelAfter: 5 * time.Second}, "[180] [] silence", "ringing not yet"},
		{"rings, then dies", RingsThenDies(time.Second), Dial{CancelAfter: 5 * time.Second}, "[180] [] silence", "over death"},
		{"changes its mind", ChangesItsMind(480, time.Second), Dial{}, "[180] [480] refusal", "over refusal"},
		{"answers and clears", AnswersAndClears(time.Second, time.Second), Dial{}, "[180] [200] their BYE", "over our BYE"},
		{"a late offer", Answers(time.Second), Dial{Late: true, TalkFor: time.Second}, "[180] [200] our BYE", "over their BYE"},
		{"a late offer in a reliable 183", EarlyMedia(time.Second, true), Dial{Late: true, Prack: true, TalkFor: time.Second}, "[183] [200] our BYE", "over their BYE"},
		{"resets the connection", ResetsTCP(), Dial{TCP: true}, "[] [] transport", "over transport"},
		{"picks up before it rings", Picked(), Dial{TalkFor: time.Second}, "[] [200] our BYE", "over their BYE"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLine(t, 1, func(_, room *PhoneConfig) { room.Script = Always(tt.script) })
				c := l.dial(t, tt.dial)
				time.Sleep(2 * time.Minute)
				r := c.Record()
				if got := fmt.Sprint(r.Provisionals, r.Finals, r.End); got != tt.want {
					t.Errorf("the caller saw %s, want %s", got, tt.want)
				}
				there := l.room.Records()
				if len(there) != 1 {
					t.Fatalf("the room had %d calls, want one", len(there))
				}
				if got := fmt.Sprint(there[0].State, " ", there[0].End); got != tt.room {
					t.Errorf("the room's call is %s, want %s", got, tt.room)
				}
			})
		})
	}
}

// A room that hears INVITE and CANCEL in any order and spacing ends with nothing, and so does the caller.
func TestCancelAtAnyMomentLeavesNothing(t *testing.T) {
	for after := time.Duration(1); after < 1200*time.Millisecond; after += 7 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			l := newLine(t, uint64(after), func(_, room *PhoneConfig) { room.Script = Always(Answers(500 * time.Millisecond)) })
			c := l.dial(t, Dial{CancelAfter: after, TalkFor: time.Second})
			time.Sleep(2 * time.Minute)
			if r := c.Record(); len(r.Finals) != 1 {
				t.Errorf("CANCEL after %v: the caller heard %v, want exactly one final", after, r.Finals)
			}
			l.quiet(t)
		})
	}
}

func TestBadWireLosesNoCall(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			l := newLine(t, seed, nil)
			l.net.Everywhere(Path{Delay: 20 * time.Millisecond, Jitter: 30 * time.Millisecond, Loss: 0.15, Duplicate: 0.1, Reorder: 0.1})
			calls := make([]*Call, 20)
			for i := range calls {
				calls[i] = l.dial(t, Dial{TalkFor: 10 * time.Second})
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(5 * time.Minute)
			for _, c := range calls {
				if r := c.Record(); !slices.Equal(r.Finals, []int{200}) || len(r.Tags) != 1 {
					t.Errorf("seed %d: %v, want one 200 and one tag", seed, r)
				}
			}
			l.quiet(t)
		})
	}
}

// A seed that failed must fail again, message by message.
func TestSameSeedSameLadder(t *testing.T) {
	night := func(seed uint64) (drawn string) {
		synctest.Test(t, func(t *testing.T) {
			l := newLine(t, seed, func(carrier, room *PhoneConfig) {
				carrier.Voice, room.Voice = 100*time.Millisecond, 100*time.Millisecond
				room.Keepalive = 3 * time.Second
			})
			l.net.Everywhere(Path{Delay: 20 * time.Millisecond, Jitter: 30 * time.Millisecond, Loss: 0.1, Duplicate: 0.1, Reorder: 0.1})
			for i := range 30 {
				l.dial(t, Dial{TalkFor: 10 * time.Second, CancelAfter: time.Duration(i) * 100 * time.Millisecond, TCP: i%5 == 0})
				time.Sleep(70 * time.Millisecond)
			}
			time.Sleep(2 * time.Minute)
			drawn = l.ladder.String()
		})
		return drawn
	}
	first := night(5)
	for range 3 {
		if diff := cmp.Diff(strings.Split(night(5), "\n"), strings.Split(first, "\n")); diff != "" {
			t.Fatalf("the same seed gave another night:\n%s", diff)
		}
	}
	if night(6) == first {
		t.Error("two seeds gave the same night")
	}
}

func TestTalkingCallIsRenegotiated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, 1, func(carrier, room *PhoneConfig) {
			carrier.Voice, room.Voice = 20*time.Millisecond, 20*time.Millisecond
		})
		c := l.dial(t, Dial{})
		there, err := l.room.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Talks(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if code := <-there.Reinvite("sendonly"); code != 200 {
			t.Errorf("hold by re-INVITE got %d, want 200", code)
		}
		time.Sleep(time.Second)
		before := there.Record().Voice.Heard
		time.Sleep(time.Second)
		if after := there.Record().Voice.Heard; after != before {
			t.Errorf("the held caller still sent %d packets", after-before)
		}
		if code := <-there.Update("sendrecv"); code != 200 {
			t.Errorf("retrieve by UPDATE got %d, want 200", code)
		}
		time.Sleep(time.Second)
		if after := there.Record().Voice.Heard; after < before+45 {
			t.Errorf("after the hold %d packets came in a second, want about 50", after-before)
		}
		for _, method := range []string{"INFO", "MESSAGE", "OPTIONS", "NOTIFY"} {
			if code := <-c.Ask(method, "text/plain", []byte("hello")); code != 200 {
				t.Errorf("%s got %d, want 200", method, code)
			}
		}
		mine, theirs := c.Reinvite("sendrecv"), there.Reinvite("sendrecv")
		if a, b := <-mine, <-theirs; a != 491 || b != 491 {
			t.Errorf("two re-INVITEs that cross got %d and %d, want 491 for both (RFC 3261 §14.1)", a, b)
		}
		c.Clear()
		there.Clear()
		time.Sleep(time.Minute)
		if got, want := there.Record().Requests, []string{"INFO", "MESSAGE", "OPTIONS", "NOTIFY", "INVITE", "BYE"}; !slices.Equal(got, want) {
			t.Errorf("the room got %v, want %v", got, want)
		}
		l.quiet(t)
	})
}

func TestPhonesDieAndReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, 1, func(carrier, _ *PhoneConfig) { carrier.Keepalive = 5 * time.Second })
		first := l.dial(t, Dial{})
		if err := first.Talks(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.room.Kill()
		if err := l.room.Restart(); err != nil {
			t.Fatal(err)
		}
		if err := first.Ends(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r := first.Record(); r.End != ByUnknown {
			t.Errorf("the call of a room that was restarted ended by %v, want by 481", r.End)
		}
		second := l.dial(t, Dial{})
		if err := second.Talks(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.room.Freeze()
		if err := second.Ends(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r := second.Record(); r.End != BySilence {
			t.Errorf("the call of a frozen room ended by %v, want by silence", r.End)
		}
		l.room.Thaw()
		if err := l.dial(t, Dial{TalkFor: time.Second}).Talks(t.Context()); err != nil {
			t.Errorf("a thawed room takes calls: %v", err)
		}
	})
}

func TestOptionsMayLie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, 1, nil)
		prober := listenPacket(t, l.net.Host("prober", netip.MustParseAddr("10.0.0.3")), netip.MustParseAddrPort("10.0.0.3:5060"))
		probe := func(number int) string {
			m := "OPTIONS sip:room@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.3:5060;branch=z9hG4bK%[1]d\r\nMax-Forwards: 70\r\nFrom: <sip:p@10.0.0.3>;tag=1\r\n" +
				"To: <sip:room@10.0.0.2>\r\nCall-ID: %[1]d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
			if _, err := prober.WriteTo(fmt.Appendf(nil, m, number), net.UDPAddrFromAddrPort(l.room.Addr())); err != nil {
				t.Fatal(err)
			}
			heard := hear(t, prober)
			if len(heard) == 0 {
				return ""
			}
			return strings.Fields(heard[0])[1]
		}
		for _, tt := range []struct {
			code int
			want string
		}{{200, "200"}, {503, "503"}, {0, ""}} {
			l.room.Options(tt.code)
			if got := probe(tt.code); got != tt.want {
				t.Errorf("OPTIONS got %q, want %q", got, tt.want)
			}
		}
	})
}

// TestAPhoneTakesAPortThatIsFreeForBothTransports: on loopback the TCP port beside a free UDP one may be that of a connection that has just ended.
func TestAPhoneTakesAPortThatIsFreeForBothTransports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewNetwork(1).Host("a", addrA)
		taken, err := h.Listen(netip.AddrPortFrom(addrA, 32768)) // the first that is given away
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = taken.Close() }()
		p := newPhone(t, PhoneConfig{Name: "a", Net: h, Addr: netip.AddrPortFrom(addrA, 0), TCP: true})
		if port := p.Addr().Port(); port != 32769 {
			t.Errorf("the phone has port %d, want the first one that is free for UDP and for TCP", port)
		}
		if _, err := NewPhone(PhoneConfig{Name: "b", Net: h, Addr: netip.AddrPortFrom(addrA, 32768), TCP: true}); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a phone that must have a port that is taken got %v, want that it is in use", err)
		}
		if packets, listeners, _ := h.Sockets(); packets != 1 || listeners != 2 {
			t.Errorf("%d sockets and %d listeners are open; want those of the phone, and the listener that was there", packets, listeners)
		}
	})
}

// conversing waits until the far end was heard for a while: on real sockets nobody can say when that is.
func conversing(ctx context.Context, t *testing.T, record func() Record) {
	t.Helper()
	for record().Voice.Heard < 10 {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("nobody is heard: %v, %+v", record(), record().Voice)
		}
	}
}

func TestPhonesOnLoopback(t *testing.T) {
	loop := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	for _, tcp := range []bool{false, true} {
		t.Run(fmt.Sprintf("tcp %v", tcp), func(t *testing.T) {
			room := newPhone(t, PhoneConfig{Name: "room", Addr: loop, Script: Always(Answers(50 * time.Millisecond)), Voice: 20 * time.Millisecond, TCP: true, Seed: 1})
			carrier := newPhone(t, PhoneConfig{Name: "carrier", Addr: loop, Voice: 20 * time.Millisecond, TCP: true, Seed: 2})
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			var calls []*Call
			for range 10 {
				c, err := carrier.Place(Dial{URI: "sip:999@" + room.Addr().String(), TCP: tcp})
				if err != nil {
					t.Fatal(err)
				}
				calls = append(calls, c)
			}
			for _, c := range calls {
				if err := c.Talks(ctx); err != nil {
					t.Fatal(err)
				}
				conversing(ctx, t, c.Record)
				c.Clear()
				if err := c.Ends(ctx); err != nil {
					t.Fatal(err)
				}
				r := c.Record()
				if !slices.Equal(r.Finals, []int{200}) || r.Voice.Heard == 0 || r.Voice.Changed+r.Voice.Foreign != 0 {
					t.Errorf("%v with audio %+v, want an answered call with good audio", r, r.Voice)
				}
			}
			if wrong := append(carrier.Wrong(), room.Wrong()...); len(wrong) != 0 {
				t.Errorf("complaints: %v", wrong)
			}
		})
	}
}
