package sip_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"nines/internal/town"
	"nines/policy"
	"nines/sip"
)

// raw sends a message as it stands.
func (a *actor) raw(text string) {
	a.t.Helper()
	if _, err := a.conn.WriteTo([]byte(strings.ReplaceAll(text, "\n", "\r\n")), nodeUDP); err != nil {
		a.t.Error(err)
	}
}

func TestTheCarrierSeesOneToTagAndOneAnswer(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		began := time.Now()
		d := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		trying := st.carrier.expect("100 INVITE")
		if got := time.Since(began); got > 10*time.Millisecond {
			t.Errorf("the 100 came after %v; it goes at once", got)
		}
		if trying.ToTag != "" {
			t.Errorf("the 100 has a To tag: %q", trying.ToTag)
		}
		m := room.expect("INVITE")
		room.replyBody(m, 183, "r", sdpOf(room, 50000))
		first := st.carrier.expect("180 INVITE")
		if len(first.Body) != 0 || first.ToTag == "" {
			t.Errorf("18x go up as 180 without SDP, with a tag:\n%s", first.raw)
		}
		room.reply(m, 180, "r")
		room.reply(m, 480, "r")
		room.expect("ACK")
		n := standby.expect("INVITE")
		for range 3 {
			standby.reply(n, 180, "s") // it rings already
		}
		standby.replyBody(n, 200, "s", sdpOf(standby, 50000))
		ok := st.carrier.expect("200 INVITE")
		if ok.ToTag != first.ToTag {
			t.Errorf("To tags %q and %q; the carrier sees one", first.ToTag, ok.ToTag)
		}
		d.ack(ok, "")
		standby.expect("ACK")
		st.carrier.silence(5 * time.Second)
		d.bye(standby)
		st.nothingLeft()
	})
}

func TestRingingIsRepeatedEachMinute(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room := st.rooms["control-room"]
		d := st.place()
		m := room.expect("INVITE")
		room.reply(m, 180, "r")
		first := st.carrier.expect("180 INVITE")
		for n := range 3 {
			began := time.Now()
			var again heard
			select {
			case again = <-st.carrier.in:
			case <-time.After(2 * time.Minute):
				t.Fatalf("no 180 in two minutes")
			}
			if got := time.Since(began).Round(time.Second); got != time.Minute {
				t.Errorf("180 number %d came after %v; RFC 3261 §13.3.1.1 wants one each minute", n+2, got)
			}
			if kind(again.Message) != "180 INVITE" || again.ToTag != first.ToTag || len(again.Body) != 0 {
				t.Errorf("want the same 180 again:\n%s", again.raw)
			}
		}
		d.cancelled()
		room.reply(room.expect("CANCEL"), 200, "r")
		room.reply(m, 487, "r")
		room.expect("ACK")
		st.nothingLeft()
	})
}

func TestARepeatedInviteIsNoSecondCall(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room := st.rooms["control-room"]
		d := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		again := func() {
			d.branch, d.seq = d.inviteBranch, 1
			d.write("INVITE", sdpOf(st.carrier, 40000), "Contact: <sip:carrier@"+st.carrier.addr.String()+">", "Content-Type: application/sdp")
		}
		again()
		st.carrier.expect("100 INVITE")
		st.carrier.expect("100 INVITE")
		m := room.expect("INVITE")
		room.reply(m, 180, "r")
		st.carrier.expect("180 INVITE")
		again()
		st.carrier.expect("180 INVITE")
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		ok := st.carrier.expect("200 INVITE")
		room.expect("ACK")
		again() // the leg repeats the 200; the transaction says nothing (RFC 6026 §7.1)
		again()
		st.carrier.silence(400 * time.Millisecond)
		d.ack(ok, "")
		d.ack(ok, "")
		room.silence(time.Second)
		if got := st.server.Counters().Calls; got != 1 {
			t.Errorf("%d calls; want one", got)
		}
		d.seq = 1
		d.bye(room)
		st.nothingLeft()
	})
}

func TestARefusalIsRepeatedUntilItsAck(t *testing.T) {
	onStage(t, oneRoom, func(st *stage) {
		room := st.rooms["control-room"]
		d := st.place()
		room.reply(room.expect("INVITE"), 603, "r")
		room.expect("ACK")
		final := st.carrier.expect("500 INVITE")
		for range 3 {
			again := st.carrier.expect("500 INVITE") // Timer G
			if string(again.raw) != string(final.raw) {
				t.Errorf("a repeated final response must not differ:\n%s\n%s", final.raw, again.raw)
			}
		}
		d.ack(final, "")
		st.carrier.silence(20 * time.Second)
		st.nothingLeft()
	})
}

func TestResponsesGoWhereViaSays(t *testing.T) {
	const rest = "Max-Forwards: 70\nFrom: <sip:a@carrier>;tag=f\nTo: <sip:999@nines>\nCall-ID: via@carrier\nCSeq: 1 INVITE\nContact: <sip:carrier@10.0.0.9>\n\n"
	cases := []struct {
		name, via string
		port      uint16 // where the responses are awaited
		want      string // the Via of the response
	}{
		{"rport", "SIP/2.0/UDP 10.0.0.9:5999;rport;branch=z9hG4bK1", 5060, "SIP/2.0/UDP 10.0.0.9:5999;rport=5060;branch=z9hG4bK1;received=10.0.0.9"},
		{"a name", "SIP/2.0/UDP sbc.carrier.example;branch=z9hG4bK1", 5060, "SIP/2.0/UDP sbc.carrier.example;branch=z9hG4bK1;received=10.0.0.9"},
		{"another port", "SIP/2.0/UDP 10.0.0.9:5070;branch=z9hG4bK1", 5070, "SIP/2.0/UDP 10.0.0.9:5070;branch=z9hG4bK1"},
		{"the sender's address wins", "SIP/2.0/UDP 10.7.7.7:5070;branch=z9hG4bK1", 5070, "SIP/2.0/UDP 10.7.7.7:5070;branch=z9hG4bK1;received=10.0.0.9"},
		{"no cookie", "SIP/2.0/UDP 10.0.0.9;branch=17", 5060, "SIP/2.0/UDP 10.0.0.9;branch=17"},
		{"no branch", "SIP/2.0/UDP 10.0.0.9:5060", 5060, "SIP/2.0/UDP 10.0.0.9:5060"},
		{
			"comma-joined", "SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1;rport, SIP/2.0/TCP a.example;branch=z9hG4bK2,SIP/2.0/UDP b.example;branch=z9hG4bK3", 5060,
			"SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1;rport=5060;received=10.0.0.9, SIP/2.0/TCP a.example;branch=z9hG4bK2,SIP/2.0/UDP b.example;branch=z9hG4bK3",
		},
		{
			"several", "SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1\nv: SIP/2.0/TCP a.example;branch=z9hG4bK2", 5060,
			"SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1|SIP/2.0/TCP a.example;branch=z9hG4bK2",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			onStage(t, oneRoom, func(st *stage) {
				at, room := st.carrier, st.rooms["control-room"]
				if c.port != 5060 {
					at = newActorAt(t, st.carrier.host, c.port)
					defer at.close()
				}
				st.carrier.raw("INVITE sip:999@nines SIP/2.0\nVia: " + c.via + "\n" + rest)
				at.expect("100 INVITE")
				st.carrier.raw("INVITE sip:999@nines SIP/2.0\nVia: " + c.via + "\n" + rest) // repeated
				at.expect("100 INVITE")
				m := room.expect("INVITE")
				room.reply(m, 486, "r")
				room.expect("ACK")
				final := at.expect("500 INVITE")
				if got := strings.Join(final.All("Via"), "|"); got != c.want {
					t.Errorf("Via of the response\n%s, want\n%s", got, c.want)
				}
				ack := "ACK sip:999@nines SIP/2.0\nVia: " + c.via + "\n" + strings.ReplaceAll(rest, "1 INVITE", "1 ACK")
				st.carrier.raw(strings.ReplaceAll(ack, "<sip:999@nines>\n", "<sip:999@nines>;tag="+final.ToTag+"\n"))
				at.silence(10 * time.Second) // it matched: the 500 is not repeated
				if got := st.server.Counters().Calls; got != 1 {
					t.Errorf("%d calls; want one", got)
				}
				st.nothingLeft()
			})
		})
	}
}

// newActorAt is a second socket of an actor's host.
func newActorAt(t *testing.T, h *town.Host, port uint16) *actor {
	t.Helper()
	addr := netip.AddrPortFrom(h.Addr(), port)
	conn, err := h.ListenPacket(addr)
	if err != nil {
		t.Fatal(err)
	}
	return cast(t, h, conn, addr, "UDP", nodeUDP)
}

func TestACancelWithoutCookieFindsItsInvite(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		const rest = "Max-Forwards: 70\nFrom: <sip:a@carrier>;tag=f\nTo: <sip:999@nines>\nCall-ID: old@carrier\nCSeq: 7 %s\nVia: SIP/2.0/UDP 10.0.0.9\n\n"
		room := st.rooms["control-room"]
		st.carrier.raw("INVITE sip:999@nines SIP/2.0\nContact: <sip:carrier@10.0.0.9>\n" + fmt.Sprintf(rest, "INVITE"))
		st.carrier.expect("100 INVITE")
		m := room.expect("INVITE")
		room.reply(m, 180, "r")
		st.carrier.expect("180 INVITE")
		st.carrier.raw("CANCEL sip:999@nines SIP/2.0\n" + fmt.Sprintf(rest, "CANCEL"))
		st.carrier.expect("200 CANCEL")
		final := st.carrier.expect("487 INVITE")
		st.carrier.raw(strings.Replace("ACK sip:999@nines SIP/2.0\n"+fmt.Sprintf(rest, "ACK"), "<sip:999@nines>", final.To, 1))
		room.reply(room.expect("CANCEL"), 200, "r")
		room.reply(m, 487, "r")
		room.expect("ACK")
		st.carrier.silence(10 * time.Second)
		st.nothingLeft()
	})
}

func TestACancelThatMatchesNothingIsTold(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room := st.rooms["control-room"]
		d := st.place()
		m := room.expect("INVITE")
		wrong := *d
		wrong.branch = "z9hG4bKother"
		wrong.write("CANCEL", "")
		st.carrier.expect("481 CANCEL")
		wrong.write("CANCEL", "") // repeated
		st.carrier.expect("481 CANCEL")
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		d.ack(st.carrier.expect("200 INVITE"), "")
		room.expect("ACK")
		d.bye(room)
		st.nothingLeft()
	})
}

func TestCompactHeadersAreHeaders(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		body := sdpOf(st.carrier, 40000)
		room := st.rooms["control-room"]
		st.carrier.raw("INVITE sip:999@nines SIP/2.0\nv: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKshort;rport\nf: <sip:a@carrier>;tag=f\nt: <sip:999@nines>\ni: short@carrier\n" +
			"CSeq: 1 INVITE\nm: <sip:carrier@10.0.0.9>\nk: 100rel\ns: hello\nc: application/sdp\n" + fmt.Sprintf("l: %d\n\n", len(body)) + strings.ReplaceAll(body, "\r", ""))
		st.carrier.expect("100 INVITE")
		m := room.expect("INVITE")
		for _, c := range []struct{ name, want string }{{"Supported", "100rel, timer"}, {"s", "hello"}, {"c", "application/sdp"}} {
			if v, _ := m.Get(c.name); v != c.want {
				t.Errorf("%s went out as %q, want %q", c.name, v, c.want)
			}
		}
		if got := m.All("Content-Type"); len(got) != 1 {
			t.Errorf("Content-Type went out as %q", got)
		}
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		ok := st.carrier.expect("200 INVITE")
		d := &dialog{a: st.carrier, callID: "short@carrier", local: "<sip:a@carrier>;tag=f", inviteBranch: "z9hG4bKshort", inviteSequence: 1, seq: 1}
		d.ack(ok, "")
		room.expect("ACK")
		d.bye(room)
		st.nothingLeft()
	})
}

func TestTheCallersRouteSetIsUsed(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room := st.rooms["control-room"]
		d := st.place("Record-Route: <sip:edge.carrier.example;lr>,<sip:core.carrier.example;lr>", "Record-Route: <sip:last.carrier.example;lr;x=1>")
		m := room.expect("INVITE")
		if got := m.All("Record-Route"); len(got) != 0 {
			t.Errorf("the caller's Record-Route went out: %q", got)
		}
		room.reply(m, 180, "r")
		ring := st.carrier.expect("180 INVITE")
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		ok := st.carrier.expect("200 INVITE")
		room.expect("ACK")
		for _, r := range []heard{ring, ok} {
			if got := strings.Join(r.All("Record-Route"), ","); got != "<sip:edge.carrier.example;lr>,<sip:core.carrier.example;lr>,<sip:last.carrier.example;lr;x=1>" {
				t.Errorf("Record-Route in the %d: %q; it must come back whole and in order (RFC 3261 §12.1.1)", r.Status, got)
			}
		}
		d.ack(ok, "")
		called := callee(room, m, "r")
		called.request("BYE", "")
		room.expect("200 BYE")
		bye := st.carrier.expect("BYE")
		if got := strings.Join(bye.List("Route"), ","); got != "<sip:edge.carrier.example;lr>,<sip:core.carrier.example;lr>,<sip:last.carrier.example;lr;x=1>" {
			t.Errorf("Route of our BYE: %q; want the caller's route set", got)
		}
		st.carrier.reply(bye, 200, "")
		st.nothingLeft()
	})
}

func TestACallerWithoutContactIsReachedWhereItCalledFrom(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room := st.rooms["control-room"]
		body := sdpOf(st.carrier, 40000)
		st.carrier.raw("INVITE sip:999@nines SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKnc;rport\nFrom: <sip:a@carrier>;tag=f\nTo: <sip:999@nines>\nCall-ID: nc@carrier\n" +
			"CSeq: 1 INVITE\nContent-Type: application/sdp\n" + fmt.Sprintf("Content-Length: %d\n\n", len(body)) + strings.ReplaceAll(body, "\r", ""))
		st.carrier.expect("100 INVITE")
		m := room.expect("INVITE")
		if v, ok := m.Get("Contact"); !ok || !strings.Contains(v, nodeAddr) {
			t.Errorf("our INVITE has Contact %q", v)
		}
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		ok := st.carrier.expect("200 INVITE")
		room.expect("ACK")
		d := &dialog{a: st.carrier, callID: "nc@carrier", local: "<sip:a@carrier>;tag=f", inviteBranch: "z9hG4bKnc", inviteSequence: 1, seq: 1}
		d.ack(ok, "")
		called := callee(room, m, "r")
		called.request("BYE", "")
		room.expect("200 BYE")
		st.carrier.reply(st.carrier.expect("BYE"), 200, "")
		st.nothingLeft()
	})
}

func TestHistoryInfoIsContinued(t *testing.T) {
	cases := []struct {
		name, uri string
		extra     []string
		standby   []string // in the INVITE to the standby
		partner   []string
	}{
		{
			name: "none came", uri: "sip:999@nines;user=phone",
			standby: []string{
				"History-Info: <sip:999@nines;user=phone?Reason=SIP%3Bcause%3D480%3Btext%3D%22nines%3Awest-mercia%20control-room%20refused%20with%20480%22>;index=1, <sip:999@10.0.1.2:5060>;index=1.1\r\n",
				`Diversion: "west-mercia" <sip:999@10.0.0.1:5060>;reason=no-answer;counter=1` + "\r\n",
			},
			partner: []string{
				"&Reason=SIP%3Bcause%3D1%3Btext%3D%22nines%3Amutual-aid%20west-mercia%22>;index=1, <sip:+441926415000@10.0.1.3:5060>;index=1.1\r\n",
				"reason=user-busy;counter=1\r\n",
			},
		},
		{
			name: "entries came", uri: "sip:999@nines",
			extra: []string{
				`History-Info: "A, B" <sip:01905@bt;x=1?Reason=SIP%3Bcause%3D302>;index=1;foo="a,b", <sip:999@nines>;index=1.2;rc=1`,
				"Diversion: <sip:01905@bt>;reason=unconditional",
			},
			standby: []string{
				"History-Info: \"A, B\" <sip:01905@bt;x=1?Reason=SIP%3Bcause%3D302>;index=1;foo=\"a,b\", <sip:999@nines>;index=1.2;rc=1\r\n",
				">;index=1.2.1, <sip:999@10.0.1.2:5060>;index=1.2.1.1\r\n",
				"Diversion: \"west-mercia\" <sip:999@10.0.0.1:5060>;reason=no-answer;counter=1\r\n",
			},
			partner: []string{"cause%3D1%3B", ">;index=1.2.1.1\r\n"},
		},
		{
			name: "a telephone number", uri: "tel:+44-999",
			standby: []string{
				"INVITE sip:+44-999@10.0.1.2:5060 SIP/2.0\r\n",
				"History-Info: <tel:+44-999>;index=1, <sip:+44999@10.0.0.1:5060;user=phone?Reason=SIP%3B", ">;index=1.1, <sip:+44-999@10.0.1.2:5060>;index=1.1.1\r\n",
			},
			partner: []string{"&Reason=SIP%3Bcause%3D1%3B", "INVITE sip:+441926415000@10.0.1.3:5060 SIP/2.0\r\n"},
		},
		{
			name: "a service", uri: "urn:service:sos.police",
			standby: []string{
				"INVITE urn:service:sos.police SIP/2.0\r\n", "Route: <sip:10.0.1.2:5060;lr>\r\n",
				"History-Info: <urn:service:sos.police>;index=1, <sip:10.0.0.1:5060?Reason=SIP%3B", ">;index=1.1, <urn:service:sos.police>;index=1.1.1\r\n",
				"Diversion: \"west-mercia\" <sip:10.0.0.1:5060>;reason=no-answer;counter=1\r\n",
			},
			partner: []string{"INVITE sip:+441926415000@10.0.1.3:5060 SIP/2.0\r\n", "&Reason=SIP%3Bcause%3D1%3B"},
		},
		{
			name: "headers in the URI", uri: "sip:999@nines?Subject=x",
			standby: []string{"<sip:999@nines?Subject=x&Reason=SIP%3Bcause%3D480"},
		},
		{
			name: "an escaped user", uri: "sip:9%3e%0d%0a9@nines",
			standby: []string{"INVITE sip:9%3e%0d%0a9@10.0.1.2:5060 SIP/2.0\r\n", `<sip:9%3E%0D%0A9@10.0.0.1:5060>`},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				d := st.carrier.invite(c.uri, sdpOf(st.carrier, 40000), append(c.extra, "P-Asserted-Identity: <tel:+447700900123>")...)
				st.carrier.expect("100 INVITE")
				refuse := func(name string, code int) string {
					m := st.rooms[name].expect("INVITE")
					st.rooms[name].reply(m, code, "x")
					st.rooms[name].expect("ACK")
					return string(m.raw)
				}
				first := refuse("control-room", 480)
				for _, never := range []string{"nines%3A", "west-mercia"} {
					if strings.Contains(first, never) {
						t.Errorf("nothing was retargeted yet, and the first attempt says %q:\n%s", never, first)
					}
				}
				check := func(who, got string, want []string) {
					for _, w := range append(want, "P-Asserted-Identity: <tel:+447700900123>\r\n") {
						if !strings.Contains(got, w) {
							t.Errorf("the INVITE to the %s has no\n%s\n%s", who, w, got)
						}
					}
				}
				standby := refuse("standby-room", 486)
				check("standby", standby, c.standby)
				if i, j := strings.Index(standby, "Diversion: \"west"), strings.Index(standby, "Diversion: <"); j >= 0 && i > j {
					t.Errorf("the newest Diversion stands first:\n%s", standby)
				}
				check("partner", refuse("partner", 486), c.partner)
				d.ack(st.carrier.expect("500 INVITE"), "")
				st.nothingLeft()
			})
		})
	}
}

func TestMaxForwardsRunsOut(t *testing.T) {
	for _, c := range []struct {
		came, own, partner string // what the caller sent and who then sees what; empty: is not asked
	}{
		{"Max-Forwards: 70", "69", "69"},
		{"Max-Forwards: 2", "1", "1"},
		{"Max-Forwards: 1", "0", "0"},
		{"Max-Forwards: 0", "0", ""},
		{"X-None: 1", "69", "69"},
	} {
		t.Run(c.came, func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				body := strings.ReplaceAll(sdpOf(st.carrier, 40000), "\r", "")
				st.carrier.raw("INVITE sip:999@nines SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKmf;rport\nFrom: <sip:a@carrier>;tag=f\nTo: <sip:999@nines>\nCall-ID: mf@carrier\n" +
					"CSeq: 1 INVITE\nContact: <sip:c@10.0.0.9>\n" + c.came + "\nContent-Type: application/sdp\n" + fmt.Sprintf("Content-Length: %d\n\n", len(body)+strings.Count(body, "\n")) + body)
				st.carrier.expect("100 INVITE")
				asked := map[string]string{"control-room": c.own, "standby-room": c.own, "partner": c.partner}
				for _, name := range []string{"control-room", "standby-room", "partner"} {
					if asked[name] == "" {
						continue
					}
					m := st.rooms[name].expect("INVITE")
					if v, _ := m.Get("Max-Forwards"); v != asked[name] {
						t.Errorf("%s got Max-Forwards %s, want %s", name, v, asked[name])
					}
					st.rooms[name].reply(m, 500, "x")
					st.rooms[name].expect("ACK")
				}
				st.carrier.expect("500 INVITE") // R9: not 483
				st.rooms["partner"].silence(time.Second)
			})
		})
	}
}

func TestWhatGoesOutNamesTheCalledNumber(t *testing.T) {
	for _, c := range []struct{ uri, to, want, route string }{
		{"sip:999@nines", "", "sip:999@10.0.1.1:5060", ""},
		{"sip:+441905331999@nines;user=phone", "", "sip:+441905331999@10.0.1.1:5060", ""},
		{"tel:999;phone-context=+44", "", "sip:999@10.0.1.1:5060", ""},
		{"sip:999;phone-context=+44@nines", "", "sip:999;phone-context=+44@10.0.1.1:5060", ""},
		{"sip:999", "", "sip:999@10.0.1.1:5060", ""},
		{"sip:nines", "", "sip:10.0.1.1:5060", ""},
		{"sip:nines", "<sip:999@nines>", "sip:999@10.0.1.1:5060", ""},
		{"sip:nines", "<urn:service:sos>", "urn:service:sos", "<sip:10.0.1.1:5060;lr>"},
		{"sip:psap@nines", "<urn:service:sos>", "sip:psap@10.0.1.1:5060", ""},
		{"urn:service:sos.fire", "", "urn:service:sos.fire", "<sip:10.0.1.1:5060;lr>"},
		{"URN:Service:SOS", "", "URN:Service:SOS", "<sip:10.0.1.1:5060;lr>"},
		{"sip:nines", "<sip:9%40%3E%239@nines>", "sip:9%40%3E%239@10.0.1.1:5060", ""},
		{"sip:9\"9@nines", "<sip:x@nines>", "sip:9%229@10.0.1.1:5060", ""},
		{"urn:service:sos\"x", "<sip:x@nines>", "urn:service:sos%22x", "<sip:10.0.1.1:5060;lr>"},
	} {
		t.Run(c.uri+" "+c.to, func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				to := c.to
				if to == "" {
					to = "<" + c.uri + ">"
				}
				st.carrier.raw("INVITE " + c.uri + " SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKmf;rport\nFrom: <sip:a@carrier>;tag=f\nTo: " + to + "\nCall-ID: mf@carrier\n" +
					"CSeq: 1 INVITE\nContact: <sip:c@10.0.0.9>\nContent-Length: 0\n\n")
				m := st.rooms["control-room"].expect("INVITE")
				if m.URI != c.want || strings.Join(m.All("Route"), ",") != c.route {
					t.Errorf("Request-URI %s, Route %q; want %s, %q", m.URI, m.All("Route"), c.want, c.route)
				}
				if m.To != to {
					t.Errorf("To is %s, want %s untouched", m.To, to)
				}
			})
		})
	}
}

func TestAPBXCallsOutAndNeverRingsOurDesk(t *testing.T) {
	pbx := func(r *sip.Routing) {
		r.Trunks[0].Kind = policy.PBX
		r.Trunks[0].Out = []policy.EndpointName{"partner"}
		r.Endpoints[2].Partner = false
		r.Endpoints[2].URI = "sip:10.0.1.3:5060"
	}
	onStage(t, pbx, func(st *stage) {
		d := st.carrier.invite("sip:07700900123@nines", sdpOf(st.carrier, 40000), "Require: x-strange", "Proxy-Require: y")
		st.carrier.expect("100 INVITE")
		m := st.rooms["partner"].expect("INVITE")
		if m.URI != "sip:07700900123@10.0.1.3:5060" {
			t.Errorf("Request-URI %s", m.URI)
		}
		if v, _ := m.Get("Require"); v != "x-strange" {
			t.Errorf("Require is %q; on a routine call a demand stays one", v)
		}
		st.rooms["partner"].reply(m, 404, "x")
		st.rooms["partner"].expect("ACK")
		d.ack(st.carrier.expect("404 INVITE"), "")
		st.nothingLeft()
	})
	onStage(t, func(r *sip.Routing) { r.Trunks[0].Kind = policy.PBX; r.Routes[0].Trunks = []policy.TrunkName{"other"} }, func(st *stage) {
		d := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		d.ack(st.carrier.expect("404 INVITE"), "")
		st.nothingLeft()
	})
}

func TestMethodsThatHaveNoBusinessHere(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		for i, c := range []struct {
			method string
			code   int
		}{
			{"REGISTER", 405},
			{"SUBSCRIBE", 405},
			{"PUBLISH", 405},
			{"MESSAGE", 405},
			{"FOO", 405},
			{"BYE", 481},
			{"PRACK", 481},
			{"UPDATE", 481},
			{"INFO", 481},
			{"NOTIFY", 481},
		} {
			d := &dialog{
				a: st.carrier, callID: fmt.Sprint("m", i), local: "<sip:bt@x>;tag=1", remote: "<sip:nines>", target: "sip:nines",
				branch: fmt.Sprint("z9hG4bKmethod", i), seq: 1,
			}
			for range 2 { // a repeat gets the same answer
				d.write(c.method, "")
				m := <-st.carrier.in
				if got := kind(m.Message); got != fmt.Sprintf("%d %s", c.code, c.method) {
					t.Errorf("%s outside a dialog got %s, want %d", c.method, got, c.code)
				}
				if v, _ := m.Get("Allow"); c.code == 405 && !strings.Contains(v, "INVITE") {
					t.Errorf("RFC 3261 §8.2.1: a 405 has an Allow; got %q", v)
				}
			}
		}
		stray := &dialog{a: st.carrier, callID: "x", local: "<sip:bt@x>;tag=1", remote: "<sip:nines>;tag=2", target: "sip:nines", branch: "z9hG4bKstray", seq: 1}
		stray.write("ACK", "")
		st.carrier.silence(time.Second) // an ACK is never answered
		st.nothingLeft()
	})
}

// The order of a message's headers is the caller's business; ours never repeat.
func TestNoHeaderOfOursComesTwice(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		st.place("Allow: INVITE", "Supported: 100rel, replaces", "User-Agent: x", "Accept: application/sdp")
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		once := []string{"Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Contact", "Content-Type", "Content-Length", "Supported", "Allow", "User-Agent"}
		for _, h := range once {
			if got := m.All(h); len(got) != 1 {
				t.Errorf("%s in our INVITE: %q; want it once", h, got)
			}
		}
		room.replyBody(m, 200, "r", sdpOf(room, 50000), "Allow: INVITE, BYE", "Supported: timer, 100rel", "Server: desk", "Require: timer", "Session-Expires: 90")
		ok := st.carrier.expect("200 INVITE")
		for _, h := range []string{"Via", "From", "To", "Call-ID", "CSeq", "Contact", "Content-Type", "Content-Length", "Supported", "Allow", "Server"} {
			if got := ok.All(h); len(got) != 1 {
				t.Errorf("%s in our 200: %q; want it once", h, got)
			}
		}
		for _, h := range []string{"Session-Expires", "Require"} {
			if got := ok.All(h); len(got) != 0 {
				t.Errorf("%s in our 200: %q; it belongs to the other leg", h, got)
			}
		}
		if !slices.Equal(ok.List("Supported"), []string{"100rel"}) {
			t.Errorf("Supported in our 200: %q", ok.All("Supported"))
		}
	})
}

func TestHowACallerHearsOfRinging(t *testing.T) {
	for _, c := range []struct {
		name   string
		header string // of the caller's INVITE
		early  bool
		want   string
		rel    bool
		sdp    bool
	}{
		{"nothing said", "X: y", false, "180 INVITE", false, false},
		{"supported, nothing to lose", "Supported: 100rel", false, "180 INVITE", false, false},
		{"required", "Require: 100rel", false, "180 INVITE", true, false},
		{"early media, nothing said", "X: y", true, "183 INVITE", false, true},
		{"early media, supported", "Supported: replaces, 100rel", true, "183 INVITE", true, true},
		{"early media, required", "Require: 100rel", true, "183 INVITE", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			onStage(t, func(r *sip.Routing) { r.Routes[0].EarlyMedia = c.early }, func(st *stage) {
				room := st.rooms["control-room"]
				d := st.place(c.header)
				m := room.expect("INVITE")
				if m.HasToken("Require", "100rel") {
					t.Errorf("what the caller requires of its leg is not required of the other: %q", m.All("Require"))
				}
				room.replyBody(m, 183, "r", sdpOf(room, 50000))
				p := st.carrier.expect(c.want)
				rseq, rel := p.Get("RSeq")
				if rel != c.rel || p.HasToken("Require", "100rel") != c.rel || (len(p.Body) > 0) != c.sdp {
					t.Errorf("reliable %v, want %v; SDP %v, want %v:\n%s", rel, c.rel, len(p.Body) > 0, c.sdp, p.raw)
				}
				if c.rel {
					d.learn(p)
					d.request("PRACK", "", "RAck: "+rseq+" 1 INVITE")
					st.carrier.expect("200 PRACK")
					d.request("PRACK", "", "RAck: "+rseq+" 1 INVITE") // nothing waits for it any more
					st.carrier.expect("481 PRACK")
					d.request("PRACK", "", "RAck: nonsense")
					st.carrier.expect("481 PRACK")
				}
				room.replyBody(m, 200, "r", sdpOf(room, 50000))
				ok := st.carrier.expect("200 INVITE")
				d.ack(ok, "")
				room.expect("ACK")
				d.bye(room)
				st.nothingLeft()
			})
		})
	}
}

func TestAReliableProvisionalIsRepeatedUntilItsPRACK(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room := st.rooms["control-room"]
		d := st.place("Require: 100rel")
		m := room.expect("INVITE")
		room.reply(m, 180, "r")
		p := st.carrier.expect("180 INVITE")
		began := time.Now()
		for _, after := range []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 3500 * time.Millisecond} {
			if again := st.carrier.expect("180 INVITE"); string(again.raw) != string(p.raw) {
				t.Errorf("a repeated provisional must not differ:\n%s\n%s", p.raw, again.raw)
			}
			within(t, "it was repeated", began, after, after+atOnce)
		}
		room.replyBody(m, 200, "r", sdpOf(room, 50000)) // without SDP in the 180 the 200 need not wait (RFC 3262 §3)
		d.ack(st.carrier.expect("200 INVITE"), "")
		room.expect("ACK")
		rseq, _ := p.Get("RSeq")
		d.request("PRACK", "", "RAck: "+rseq+" 1 INVITE") // late, but the peer is right to send it
		st.carrier.expect("200 PRACK")
		d.bye(room)
		st.nothingLeft()
	})
}

func TestA200WaitsForThePRACKOfAnAnswerButTheRoomDoesNot(t *testing.T) {
	early := func(r *sip.Routing) { r.Routes[0].EarlyMedia = true }
	for _, pracked := range []bool{true, false} {
		t.Run(fmt.Sprint(pracked), func(t *testing.T) {
			onStage(t, early, func(st *stage) {
				room := st.rooms["control-room"]
				d := st.place("Supported: 100rel")
				m := room.expect("INVITE")
				room.replyBody(m, 183, "r", sdpOf(room, 50000), "Require: 100rel", "RSeq: 4000000000")
				prack := room.expect("PRACK")
				if v, _ := prack.Get("RAck"); v != fmt.Sprintf("4000000000 %d INVITE", m.CSeq) {
					t.Errorf("RAck is %q", v)
				}
				room.reply(prack, 200, "")
				p := st.carrier.expect("183 INVITE")
				began := time.Now()
				room.replyBody(m, 200, "r", sdpOf(room, 50000))
				room.expect("ACK") // or it would repeat its 200, and hang up after 64·T1
				within(t, "the room has its ACK", began, 0, atOnce)
				d.learn(p)
				if pracked {
					time.Sleep(300 * time.Millisecond)
					rseq, _ := p.Get("RSeq")
					d.request("PRACK", "", "RAck: "+rseq+" 1 INVITE")
					st.carrier.expect("200 PRACK")
				}
				ok := st.carrier.until("200 INVITE", "183 INVITE")
				if !pracked {
					within(t, "the 200 went up", began, 31*time.Second, 33*time.Second) // a caller who forgets its PRACK is not hung up on
				}
				if string(ok.Body) != string(p.Body) {
					t.Errorf("the 200 carries\n%s, want what the 183 had:\n%s", ok.Body, p.Body)
				}
				d.ack(ok, "")
				d.bye(room)
				st.nothingLeft()
			})
		})
	}
}

func TestAnEndpointsReliableProvisionalsEndAtUs(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room := st.rooms["control-room"]
		d := st.place()
		m := room.expect("INVITE")
		say := func(tag string, rseq int) { room.reply(m, 180, tag, "Require: 100rel", fmt.Sprint("RSeq: ", rseq)) }
		pracks := func(tag string, rseq int, answer bool) {
			t.Helper()
			p := room.expect("PRACK")
			if v, _ := p.Get("RAck"); v != fmt.Sprintf("%d %d INVITE", rseq, m.CSeq) || p.ToTag != tag {
				t.Errorf("PRACK of %q in dialog %q; want %d in %q", v, p.ToTag, rseq, tag)
			}
			if answer {
				room.reply(p, 200, "")
			}
		}
		say("one", 5)
		pracks("one", 5, true)
		st.carrier.expect("180 INVITE")
		say("one", 5) // repeated: it has had its PRACK, whose transaction repeats itself if it was lost
		say("one", 7) // out of order: 6 is missing
		room.silence(300 * time.Millisecond)
		say("one", 6)
		pracks("one", 6, true)
		say("one", 7)
		pracks("one", 7, true)
		say("two", 100) // a fork counts for itself
		pracks("two", 100, true)
		say("two", 101)
		pracks("two", 101, false) // this PRACK gets no answer
		room.until("PRACK")
		room.until("PRACK")
		st.carrier.silence(10 * time.Second) // the caller hears of nothing of this
		room.replyBody(m, 200, "two", sdpOf(room, 50000))
		d.ack(st.carrier.expect("200 INVITE"), "")
		room.until("ACK", "PRACK")
		st.carrier.present.Store(true)
		time.Sleep(40 * time.Second)
		for len(room.in) > 0 {
			<-room.in
		}
		d.bye(room)
		st.nothingLeft()
	})
}

func TestTheAnswerMayStandInAReliableProvisionalOfEachFork(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room := st.rooms["control-room"]
		d := st.place()
		m := room.expect("INVITE")
		for i, tag := range []string{"one", "two"} {
			room.replyBody(m, 183, tag, sdpOf(room, 50000+10*i), "Require: 100rel", "RSeq: 1")
			room.reply(room.expect("PRACK"), 200, "")
		}
		st.carrier.expect("180 INVITE")
		room.reply(m, 200, "two") // without SDP: the answer was in the 183 (RFC 3262 §5)
		ok := st.carrier.expect("200 INVITE")
		if !strings.Contains(string(ok.Body), "m=audio 2") {
			t.Errorf("the 200 has no answer:\n%s", ok.raw)
		}
		d.ack(ok, "")
		room.expect("ACK")
		d.bye(room)
		st.nothingLeft()
	})
}

func TestAfterAFrozenAnswerOnlyItsCodecsAreOffered(t *testing.T) {
	early := func(r *sip.Routing) { r.Routes[0].EarlyMedia = true }
	onStage(t, early, func(st *stage) {
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		offer := strings.ReplaceAll(sdpOf(st.carrier, 40000, "a=rtpmap:0 PCMU/8000", "a=rtpmap:9 G722/8000"), "RTP/AVP 8 101", "RTP/AVP 9 8 0 101")
		d := st.carrier.invite("sip:999@nines", offer)
		st.carrier.expect("100 INVITE")
		m := room.expect("INVITE")
		answer := strings.ReplaceAll(sdpOf(room, 50000, "a=rtpmap:0 PCMU/8000"), "RTP/AVP 8 101", "RTP/AVP 0 101")
		room.replyBody(m, 183, "r", answer)
		p := st.carrier.expect("183 INVITE")
		room.replyBody(m, 183, "r", answer) // says nothing new
		room.reply(m, 480, "r")
		room.expect("ACK")
		n := standby.expect("INVITE")
		if got := string(n.Body); !strings.Contains(got, " RTP/AVP 0 101\r\n") || strings.Contains(got, "PCMA") || strings.Contains(got, "G722") {
			t.Errorf("the caller was told PCMU; nothing else may be offered now:\n%s", got)
		}
		standby.reply(n, 180, "s")
		standby.replyBody(n, 200, "s", strings.ReplaceAll(answer, "10.0.1.1", "10.0.1.2"))
		ok := st.carrier.until("200 INVITE", "180 INVITE")
		if string(ok.Body) != string(p.Body) {
			t.Errorf("the 200 carries\n%s, want what the 183 had:\n%s", ok.Body, p.Body)
		}
		d.ack(ok, "")
		standby.expect("ACK")
		standby.silence(time.Second) // it answered as agreed: it need not be asked again
		d.bye(standby)
		st.nothingLeft()
	})
}
