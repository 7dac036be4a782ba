package sip_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"nines/sip"
)

// elsewhere sends on an actor's behalf from another machine.
func (st *stage) elsewhere(addr string) *actor {
	ip := netip.MustParseAddr(addr)
	return newActor(st.t, st.net.Host("elsewhere "+addr, ip))
}

// forged is a request in a dialog, as somebody who has heard its tags would write it.
func forged(from *actor, d *dialog, method string) string {
	return fmt.Sprintf("%s %s SIP/2.0\nVia: SIP/2.0/UDP %s;branch=z9hG4bKforged%s%d;rport\nMax-Forwards: 70\nFrom: %s\nTo: %s\nCall-ID: %s\nCSeq: %d %s\nContact: <sip:evil@%s>\nContent-Length: 0\n\n",
		method, d.target, from.addr, method, from.addr.Port(), d.local, d.remote, d.callID, d.seq+100, method, from.addr)
}

func TestAForgedRequestEndsNoCall(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		evil := st.elsewhere("198.51.100.66")
		defer evil.close()
		for _, d := range []*dialog{caller, called} {
			for _, method := range []string{"BYE", "INVITE", "UPDATE", "INFO"} {
				evil.raw(forged(evil, d, method))
				evil.expect("403 " + method)
				if method == "INVITE" {
					time.Sleep(time.Second)
					for len(evil.in) > 0 {
						<-evil.in
					}
				}
			}
		}
		if got := st.server.Counters(); got.Talking != 1 || got.Spoofed != 8 {
			t.Errorf("%d calls talk and %d forged requests are counted, want the call and 8", got.Talking, got.Spoofed)
		}
		called.a.silence(100 * time.Millisecond)
		st.carrier.silence(100 * time.Millisecond)
		st.hangUp(caller, called)
	})
}

func TestATrunksOtherAddressMaySpeakForItsCalls(t *testing.T) {
	onStage(t, func(r *sip.Routing) {
		r.Trunks[0].From = append(r.Trunks[0].From, netip.MustParsePrefix("192.0.2.0/24"))
		r.Endpoints[0].Addresses = []netip.Addr{netip.MustParseAddr("10.0.1.77")}
	}, func(st *stage) {
		second := st.elsewhere("192.0.2.7")
		defer second.close()
		caller, called := st.talk("control-room")
		second.raw(forged(second, caller, "BYE"))
		second.expect("200 BYE")
		bye := called.a.expect("BYE")
		called.a.reply(bye, 200, "")

		// A CANCEL from another address of the trunk than its INVITE's.
		caller = st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40002))
		st.carrier.expect("100 INVITE")
		m := called.a.expect("INVITE")
		called.a.reply(m, 180, "r")
		st.carrier.expect("180 INVITE")
		second.raw(fmt.Sprintf("CANCEL %s SIP/2.0\nVia: SIP/2.0/UDP %s;branch=%s;rport\nMax-Forwards: 70\nFrom: %s\nTo: <%s>\nCall-ID: %s\nCSeq: 1 CANCEL\nContent-Length: 0\n\n",
			caller.target, st.carrier.addr, caller.branch, caller.local, caller.target, caller.callID))
		second.expect("200 CANCEL")
		called.a.expect("CANCEL")
	})
}
