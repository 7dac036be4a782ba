package sip_test

import (
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"nines/internal/town/certs"
	"nines/policy"
	"nines/sip"
	"nines/sip/wire"
)

var (
	nodeTLS  = net.TCPAddrFromAddrPort(netip.MustParseAddrPort(nodeAddr + ":5061"))
	roomTLS  = netip.MustParseAddrPort("10.0.1.1:5061")
	trunkTLS = netip.MustParseAddrPort("10.0.0.9:5061")
)

// guild is who signs the certificates of a test.
type guild struct{ *certs.Authority }

func newGuild() guild { return guild{certs.New("guild")} }

// node has the proxy listen on TLS beside the rest.
func (g guild) node(sc *scene) {
	own := g.Issue("nines.example", nodeAddr)
	sc.server.Listen = append(sc.server.Listen, wire.Listen{Proto: wire.TLS, Addr: netip.MustParseAddrPort(nodeAddr + ":5061")})
	sc.TLS = sip.TLS{Certificate: &own, Partners: g.Pool(), Roots: g.Pool()}
}

// config is TLS of an actor that shows a certificate and checks ours.
func (g guild) config(c tls.Certificate) (server, client *tls.Config) {
	return &tls.Config{Certificates: []tls.Certificate{c}, ClientCAs: g.Pool(), ClientAuth: tls.RequireAndVerifyClientCert},
		&tls.Config{Certificates: []tls.Certificate{c}, RootCAs: g.Pool(), ServerName: "nines.example"}
}

// room makes the control room one that is asked by TLS.
func (g guild) room(sc *scene, c tls.Certificate) *actor {
	sc.Endpoints[0].URI = "sip:10.0.1.1;transport=tls"
	server, client := g.config(c)
	old := sc.stage.rooms["control-room"]
	old.close()
	a := cast(sc.stage.t, old.host, newTLSLines(sc.stage.t, old.host, roomTLS, server, client), roomTLS, "TLS", nodeTLS)
	sc.stage.rooms["control-room"] = a
	return a
}

func (g guild) carrier(sc *scene, client *tls.Config) {
	old := sc.stage.carrier
	old.close()
	server, _ := g.config(g.Issue("carrier.example", "10.0.0.9"))
	sc.stage.carrier = cast(sc.stage.t, old.host, newTLSLines(sc.stage.t, old.host, trunkTLS, server, client), trunkTLS, "TLS", nodeTLS)
}

func TestACallPassesByTLSOnBothSides(t *testing.T) {
	onScene(t, func(sc *scene) {
		g := newGuild()
		g.node(sc)
		g.room(sc, g.Issue("10.0.1.1"))
		_, client := g.config(g.Issue("carrier.example", "10.0.0.9"))
		g.carrier(sc, client)
	}, func(st *stage) {
		room := st.rooms["control-room"]
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		m := room.expect("INVITE")
		if m.Via.Transport != "TLS" || m.Via.Port != 5061 || m.URI != "sip:999@10.0.1.1;transport=tls" {
			t.Errorf("the INVITE for %s has the Via %q; want TLS, and where we listen", m.URI, m.Via.Raw)
		}
		called := callee(room, m, "room")
		room.replyBody(m, 200, "room", sdpOf(room, 50000))
		ok := st.carrier.expect("200 INVITE")
		if v, _ := ok.Get("Contact"); !strings.Contains(v, nodeAddr+":5061;transport=tls>") {
			t.Errorf("the Contact is %q, want one that is called by TLS", v)
		}
		room.expect("ACK")
		caller.ack(ok, "")
		time.Sleep(10 * time.Millisecond)
		room.lines().reset()
		st.carrier.lines().reset()
		called.request("INFO", "") // by a new connection of the room's, and by one of ours to the carrier
		st.carrier.reply(st.carrier.expect("INFO"), 200, "")
		room.expect("200 INFO")
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

// spoilt are certificates of a room that is not who it says.
func TestAnEmergencyCallGoesByTCPWhereTLSFails(t *testing.T) {
	for name, c := range map[string]struct {
		require bool
		class   policy.Class
		plain   bool
	}{
		"emergency":              {false, policy.Emergency, true},
		"emergency, require_tls": {true, policy.Emergency, false},
		"routine":                {false, policy.Routine, false},
	} {
		t.Run(name, func(t *testing.T) {
			var plain *actor
			onScene(t, func(sc *scene) {
				g := newGuild()
				g.node(sc)
				room := g.room(sc, certs.New("stranger").Issue("10.0.1.1"))
				addr := netip.MustParseAddrPort("10.0.1.1:5060")
				plain = cast(t, room.host, newLines(t, room.host, addr), addr, "TCP", nodeTCP)
				sc.stage.rooms["plain"] = plain
				sc.Endpoints[0].RequireTLS = c.require
			}, func(st *stage) {
				number := "999"
				if c.class == policy.Routine {
					number = "101"
				}
				st.carrier.invite("sip:"+number+"@nines", sdpOf(st.carrier, 40000))
				st.carrier.expect("100 INVITE")
				asked := st.rooms["standby-room"]
				if c.plain {
					asked = plain
				}
				m := asked.expect("INVITE")
				if want := "sip:999@10.0.1.1;transport=tcp"; c.plain && m.URI != want {
					t.Errorf("the INVITE is for %s, want %s: a URI must not ask for the TLS that it does not get", m.URI, want)
				}
				asked.reply(m, 486, "busy")
				asked.expect("ACK")
			})
		})
	}
}

func TestAnExpiredCertificateFailsNoEmergencyCall(t *testing.T) {
	onScene(t, func(sc *scene) {
		g := newGuild()
		g.node(sc)
		expired := g.Until(time.Now().Add(-time.Hour), "10.0.1.1")
		g.room(sc, expired)
		sc.Endpoints[0].RequireTLS = true
	}, func(st *stage) {
		room := st.rooms["control-room"]
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		m := room.expect("INVITE")
		called := callee(room, m, "room")
		room.replyBody(m, 200, "room", sdpOf(room, 50000))
		caller.ack(st.carrier.expect("200 INVITE"), "")
		room.expect("ACK")
		st.hangUp(caller, called)
	})
}

func TestAPartnerThatConnectsMustShowItsCertificate(t *testing.T) {
	for name, shows := range map[string]func(guild) []tls.Certificate{
		"none": func(guild) []tls.Certificate { return nil },
		"strange": func(guild) []tls.Certificate {
			return []tls.Certificate{certs.New("stranger").Issue("carrier.example")}
		},
		"its own":   func(g guild) []tls.Certificate { return []tls.Certificate{g.Issue("carrier.example")} },
		"a carrier": nil,
	} {
		t.Run(name, func(t *testing.T) {
			onScene(t, func(sc *scene) {
				g := newGuild()
				g.node(sc)
				client := &tls.Config{RootCAs: g.Pool(), ServerName: "nines.example"}
				if shows != nil {
					sc.Trunks[0].Kind = policy.Aid
					client.Certificates = shows(g)
				}
				g.carrier(sc, client)
			}, func(st *stage) {
				st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
				if name == "none" || name == "strange" {
					st.carrier.silence(time.Second)
					if got := st.server.Counters().Wire.Handshakes; got == 0 {
						t.Error("the failed handshake is not counted")
					}
					return
				}
				st.carrier.expect("100 INVITE")
				st.rooms["control-room"].expect("INVITE")
			})
		})
	}
}
