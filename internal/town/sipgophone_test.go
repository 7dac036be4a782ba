package town

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newSipgoPhone(t *testing.T, cfg PhoneConfig) *SipgoPhone {
	t.Helper()
	p, err := NewSipgoPhone(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// The two kinds of phones are each other's second opinion: what one says the other must understand.
func TestOurPhoneCallsSipgos(t *testing.T) {
	tests := []struct {
		name   string
		script Behaviour
		dial   Dial
		want   string // finals and end at the caller
	}{
		{"answers", Answers(time.Second), Dial{TalkFor: 2 * time.Second}, "[200] our BYE"},
		{"refuses", Refuses(486, time.Second), Dial{}, "[486] refusal"},
		{"rings, then the caller clears", Rings(100 * time.Millisecond), Dial{CancelAfter: 3 * time.Second}, "[487] CANCEL"},
		{"answers and clears", AnswersAndClears(time.Second, time.Second), Dial{}, "[200] their BYE"},
		{"a late offer", Answers(time.Second), Dial{Late: true, TalkFor: 2 * time.Second}, "[200] our BYE"},
		{"early media", EarlyMedia(time.Second, false), Dial{TalkFor: 2 * time.Second}, "[200] our BYE"},
		{"redirects", Redirects("sip:a@10.0.0.9"), Dial{}, "[302] refusal"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := NewNetwork(1)
				n.Everywhere(Path{Delay: 10 * time.Millisecond})
				room := newSipgoPhone(t, PhoneConfig{Name: "room", Net: n.Host("room", addrB), Addr: netip.AddrPortFrom(addrB, 5060), Voice: 20 * time.Millisecond, Script: Always(tt.script)})
				carrier := newPhone(t, PhoneConfig{Name: "carrier", Net: n.Host("carrier", addrA), Addr: netip.AddrPortFrom(addrA, 5060), Voice: 20 * time.Millisecond})
				tt.dial.URI = "sip:999@" + room.Addr().String()
				c, err := carrier.Place(tt.dial)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				r := c.Record()
				if got := fmt.Sprint(r.Finals, " ", r.End); got != tt.want {
					t.Errorf("the caller saw %s, want %s", got, tt.want)
				}
				for _, r := range append(room.Records(), r) {
					if v := r.Voice; r.Answer.IsZero() != (v.Heard == 0) || v.Changed+v.Foreign+v.BadType != 0 {
						t.Errorf("%v had audio %+v, want good audio where it was answered", r, v)
					}
				}
				if a, ring, talk := room.Live(); a+ring+talk != 0 {
					t.Errorf("the room has %d asked, %d ringing, %d talking calls left", a, ring, talk)
				}
				for _, wrong := range carrier.Wrong() {
					t.Error(wrong)
				}
			})
		})
	}
}

func TestSipgosPhoneCallsOurs(t *testing.T) {
	tests := []struct {
		name   string
		script Behaviour
		dial   Dial
		want   string
	}{
		{"answers", Answers(time.Second), Dial{TalkFor: 2 * time.Second}, "[200] our BYE"},
		{"refuses", Refuses(503, time.Second), Dial{}, "[503] refusal"},
		{"rings, then the caller clears", Rings(100 * time.Millisecond), Dial{CancelAfter: 3 * time.Second}, "[487] CANCEL"},
		{"answers and clears", AnswersAndClears(time.Second, time.Second), Dial{}, "[200] their BYE"},
		{"a late offer", Answers(time.Second), Dial{Late: true, TalkFor: 2 * time.Second}, "[200] our BYE"},
		{"nobody is there", Ignores(), Dial{}, "[] silence"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := NewNetwork(1)
				n.Everywhere(Path{Delay: 10 * time.Millisecond})
				room := newPhone(t, PhoneConfig{Name: "room", Net: n.Host("room", addrB), Addr: netip.AddrPortFrom(addrB, 5060), Voice: 20 * time.Millisecond, Script: Always(tt.script)})
				carrier := newSipgoPhone(t, PhoneConfig{Name: "carrier", Net: n.Host("carrier", addrA), Addr: netip.AddrPortFrom(addrA, 5060), Voice: 20 * time.Millisecond})
				tt.dial.URI = "sip:999@" + room.Addr().String()
				c, err := carrier.Place(tt.dial)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				r := c.Record()
				if got := fmt.Sprint(r.Finals, " ", r.End); got != tt.want {
					t.Errorf("the caller saw %s, want %s", got, tt.want)
				}
				for _, r := range append(room.Records(), r) {
					if v := r.Voice; r.Answer.IsZero() != (v.Heard == 0) || v.Changed+v.Foreign+v.BadType != 0 {
						t.Errorf("%v had audio %+v, want good audio where it was answered", r, v)
					}
				}
				if a, ring, talk := room.Live(); a+ring+talk != 0 {
					t.Errorf("the room has %d asked, %d ringing, %d talking calls left", a, ring, talk)
				}
				for _, wrong := range room.Wrong() {
					t.Error(wrong)
				}
			})
		})
	}
}

func TestSipgosPhoneIsRenegotiatedDiesAndReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		n.Everywhere(Path{Delay: 10 * time.Millisecond})
		room := newSipgoPhone(t, PhoneConfig{Name: "room", Net: n.Host("room", addrB), Addr: netip.AddrPortFrom(addrB, 5060)})
		carrier := newPhone(t, PhoneConfig{Name: "carrier", Net: n.Host("carrier", addrA), Addr: netip.AddrPortFrom(addrA, 5060), Keepalive: 10 * time.Second})
		call := func() *Call {
			c, err := carrier.Place(Dial{URI: "sip:999@" + room.Addr().String()})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Talks(t.Context()); err != nil {
				t.Fatal(err)
			}
			return c
		}
		c := call()
		for _, direction := range []string{"sendonly", "sendrecv"} {
			if code := <-c.Reinvite(direction); code != 200 {
				t.Errorf("re-INVITE %s got %d, want 200", direction, code)
			}
		}
		for _, method := range []string{"INFO", "UPDATE", "OPTIONS"} {
			if code := <-c.Ask(method, "", nil); code != 200 {
				t.Errorf("%s got %d, want 200", method, code)
			}
		}
		room.Kill()
		if err := room.Restart(); err != nil {
			t.Fatal(err)
		}
		if err := c.Ends(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r := c.Record(); r.End != ByUnknown {
			t.Errorf("the call of a restarted room ended by %v, want by 481", r.End)
		}
		c = call()
		room.Freeze()
		if err := c.Ends(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r := c.Record(); r.End != BySilence {
			t.Errorf("the call of a frozen room ended by %v, want by silence", r.End)
		}
		room.Thaw()
		call().Clear()
		time.Sleep(time.Minute)
		for _, wrong := range carrier.Wrong() {
			t.Error(wrong)
		}
	})
}

func TestSipgosPhonesOnLoopback(t *testing.T) {
	loop := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	for _, tcp := range []bool{false, true} {
		t.Run(fmt.Sprintf("tcp %v", tcp), func(t *testing.T) {
			room := newSipgoPhone(t, PhoneConfig{Name: "room", Addr: loop, Script: Always(Answers(200 * time.Millisecond)), Voice: 20 * time.Millisecond, TCP: true, Seed: 1})
			carrier := newSipgoPhone(t, PhoneConfig{Name: "carrier", Addr: loop, Voice: 20 * time.Millisecond, TCP: true, Seed: 2})
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			var calls []*SipgoCall
			for range 5 {
				uri := "sip:999@" + room.Addr().String()
				if tcp {
					uri += ";transport=tcp"
				}
				c, err := carrier.Place(Dial{URI: uri, TCP: tcp})
				if err != nil {
					t.Fatal(err)
				}
				calls = append(calls, c)
			}
			for _, c := range calls {
				conversing(ctx, t, c.Record)
				c.Clear()
				select {
				case <-c.Done():
				case <-ctx.Done():
					t.Fatal("the call does not end")
				}
				r := c.Record()
				if !slices.Equal(r.Finals, []int{200}) || r.Voice.Heard == 0 || r.Voice.Changed+r.Voice.Foreign != 0 || strings.Join(r.Replies, " ") != "BYE 200" {
					t.Errorf("%v %v with audio %+v, want an answered call with good audio", r, r.Replies, r.Voice)
				}
			}
		})
	}
}
