package acceptance

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"nines/internal/town"
)

// strictSBC places a call as a carrier does that requires 100rel and binds the first session description it sees. offer may be empty: then the first that
// comes is answered in the ACK. It gives what it has bound, and the 200.
func strictSBC(t *testing.T, n *node, s socket, offer, answer string) (bound string, ok *town.Message) {
	t.Helper()
	p := n.place
	d := dialog{callID: fmt.Sprintf("strict-%d", s.at.Port()), body: offer, extra: "Require: 100rel\r\nSupported: 100rel\r\n"}
	s.says(t, p.sip(1), request("INVITE", s.at, p, d))
	bind := func(m *town.Message) bool {
		if bound == "" {
			bound = string(m.Body)
		}
		return string(m.Body) == "" || string(m.Body) == bound
	}
	cseq := 1
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		data, _, there := s.hears(t, time.Until(end))
		if !there {
			break
		}
		m, err := town.ParseMessage(data)
		if err != nil || !strings.HasSuffix(m.Get("CSeq"), " INVITE") || m.Code <= 100 {
			continue
		}
		if !bind(m) {
			t.Errorf("a %d says\n%s\nwhat was bound is\n%s", m.Code, m.Body, bound)
		}
		d.toTag, d.extra, d.body = toTag(m), "", ""
		if m.Code >= 200 {
			d.cseq = "1 ACK"
			if offer == "" {
				d.body = answer
			}
			s.says(t, p.sip(1), request("ACK", s.at, p, d))
			return bound, m
		}
		if rseq := m.Get("RSeq"); rseq != "" {
			cseq++
			d.cseq, d.extra = fmt.Sprintf("%d PRACK", cseq), "RAck: "+rseq+" 1 INVITE\r\n"
			s.says(t, p.sip(1), request("PRACK", s.at, p, d))
		} else if offer != "" {
			t.Errorf("a %d came unreliably to who requires 100rel", m.Code)
		}
	}
	t.Fatal("no final response within 20 s")
	return "", nil
}

// isAsked waits for a re-INVITE, answers it and gives its offer.
func (s socket) isAsked(t *testing.T, p place, answer string) (offer string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		data, _, there := s.hears(t, time.Until(end))
		if !there {
			break
		}
		if m, err := town.ParseMessage(data); err == nil && m.Method == "INVITE" {
			s.says(t, p.sip(1), []byte(response(m, "200 OK", s.at.String(), answer)))
			return string(m.Body)
		}
	}
	t.Fatal("no re-INVITE within 20 s")
	return ""
}

const (
	pcma = "v=0\r\no=- 1 1 IN IP4 HOST\r\ns=-\r\nc=IN IP4 HOST\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
	pcmu = "v=0\r\no=- 1 1 IN IP4 HOST\r\ns=-\r\nc=IN IP4 HOST\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 96\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:96 telephone-event/8000\r\n"
	both = "v=0\r\no=- 1 1 IN IP4 HOST\r\ns=-\r\nc=IN IP4 HOST\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n" +
		"a=rtpmap:101 telephone-event/8000\r\n"
)

// TestAStrictCarrierTalksToTheStandby: an SBC with Require: 100rel binds the first session description. The primary sends a reliable 183 with PCMA and
// goes silent; the standby answers with PCMU and another number for key presses. Audio and digits pass both ways; and so without an offer, and where
// the standby goes on with its own codec although it is asked for the other one.
func TestAStrictCarrierTalksToTheStandby(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name           string
		late, stubborn bool
	}{{"offer", false, false}, {"no offer", true, false}, {"stubborn standby", false, true}} {
		t.Run(tt.name, func(t *testing.T) {
			late := tt.late
			p := newPlace()
			at := func(text string, host int) string { return strings.ReplaceAll(text, "HOST", p.ip(host).String()) }
			phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Codecs: []int{8}, Voice: 20 * time.Millisecond, Script: town.Always(town.Behaviour{
				{Code: 183, SDP: true, Reliable: true}, {After: 200 * time.Millisecond, Act: town.Freeze},
			})})
			asked := make(chan string, 10) // what nines offers the standby: at last only what the carrier has bound
			newDesk(t, p.sip(11), func(offer string) string {
				asked <- offer
				if !tt.stubborn && strings.Contains(offer, " RTP/AVP 8 101\r\n") { // the second time, when it is asked for nothing else, it does as it is asked
					return at(pcma, 11)
				}
				return at(pcmu, 11)
			})
			n := start(t, p, strings.Replace(twoRooms, "ask: [control-room, standby]", "ask: [control-room, standby], early_media: first, patience: 500ms", 1))
			n.verdict("up", "control-room", "standby")

			s := listen(t, p.at(200, 0))
			offer, codec, keys := both, byte(8), byte(101)
			if late {
				offer, codec, keys = "", 0, 96
			}
			bound, ok := strictSBC(t, n, s, at(offer, 200), at(pcmu, 200))
			if ok.Code != 200 {
				t.Fatalf("the call got %d, want 200", ok.Code)
			}
			if want := fmt.Sprintf(" RTP/AVP %d %d\r\n", codec, keys); !strings.Contains(bound, want) {
				t.Errorf("the carrier has bound\n%s\nwant%s", bound, want)
			}
			if tt.stubborn {
				bound, codec, keys = s.isAsked(t, p, at(pcmu, 200)), 0, 96
			}
			var far netip.AddrPort
			eventually(t, 5*time.Second, "the standby is asked for what the carrier speaks", func() bool {
				if len(asked) == 0 {
					return false
				}
				text := <-asked
				if st := streams(t, text); len(st) > 0 {
					far = st[0]
				}
				return late || strings.Contains(text, " RTP/AVP 8 101\r\n")
			})
			caller, person := listen(t, p.at(200, 40000)), listen(t, p.at(11, 40000))
			if late { // the standby's INVITE had no offer: where it is told to send stands in the ACK; it hears first
				eventually(t, 5*time.Second, "the standby hears the carrier", func() bool {
					caller.says(t, streams(t, bound)[0], []byte{0x80, codec, 0, 1})
					_, from, there := person.hears(t, 100*time.Millisecond)
					far = from
					return there
				})
			}
			near := streams(t, bound)[0]
			voice := append([]byte{0x80, codec, 0, 2, 0, 0, 0, 160, 1, 2, 3, 4}, make([]byte, 160)...)
			key := []byte{0x80, keys | 0x80, 0, 3, 0, 0, 1, 64, 1, 2, 3, 4, 5, 0x0a, 0, 160}
			eventually(t, 5*time.Second, "the standby's media is aimed", func() bool {
				caller.says(t, near, voice)
				_, _, there := person.hears(t, 100*time.Millisecond)
				return there
			})
			last := bytes.Clone(voice)
			last[3] = 9
			caller.says(t, near, last)
			eventually(t, 10*time.Second, "what was said while it was tried has come", func() bool {
				got, _, _ := person.hears(t, time.Second)
				return bytes.Equal(got, last)
			})
			crosses(t, "the carrier's voice", caller, near, person, far, voice)
			crosses(t, "the carrier's key press", caller, near, person, far, key)
			crosses(t, "the standby's voice", person, far, caller, near, voice)
			crosses(t, "the standby's key press", person, far, caller, near, key)
			d := dialog{callID: ok.Get("Call-ID"), toTag: toTag(ok), cseq: "90 BYE"}
			if m := s.final(t, p, request("BYE", s.at, p, d)); m.Code != 200 {
				t.Errorf("BYE got %d, want 200", m.Code)
			}
			n.empty(10 * time.Second)
		})
	}
}
