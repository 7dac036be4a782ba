package sip_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// everything stands in requests and responses inside a call: what nines does not know passes.
const everything = `Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2
X-Twice: one
x-twice: two
P-Asserted-Identity: <sip:+441905331101@x>, <tel:+441905331101>
Subject: Grüße ` + "\xe9" + `
Supported: x-one, timer, 100rel
Require: x-two
Reason: Q.850;cause=16;text="cleared"
Replaces: 98732@x;from-tag=r33th4x0r;to-tag=ff87ff
Refer-To: <sip:x@x?Replaces=1%3Bto-tag%3D2%3Bfrom-tag%3D3>
Event: refer;id=7
Content-ID: <one@x>
Content-Disposition: render;handling=optional
Content-Language: cy
Min-SE: 90
Session-Expires: 1800
Record-Route: <sip:10.7.7.7;lr>`

// utters sends a message that is written by hand, and gives it.
func (a *actor) utters(text, body string) []byte {
	raw := []byte(strings.ReplaceAll(text, "\n", "\r\n") + fmt.Sprintf("\r\nContent-Type: application/x-any\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	if _, err := a.conn.WriteTo(raw, nodeUDP); err != nil {
		a.t.Error(err)
	}
	return raw
}

// TestWhatPassesInsideACallIsChangedOnlyWhereThePageSaysSo is the golden difference for requests inside a call and their responses, both ways.
func TestWhatPassesInsideACallIsChangedOnlyWhereThePageSaysSo(t *testing.T) {
	listed := changedHeaders(t)
	var story strings.Builder
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		st.carrier.lenient.Store(true)
		called.a.lenient.Store(true)
		for _, way := range []struct {
			name     string
			from, to *dialog
		}{{"the caller's", caller, called}, {"the room's", called, caller}} {
			for _, method := range []string{"INFO", "REFER", "NOTIFY", "SUBSCRIBE", "MESSAGE", "UPDATE", "X-NEW"} {
				d := way.from
				d.seq++
				sent := d.a.utters(fmt.Sprintf("%s %s SIP/2.0\nVia: SIP/2.0/UDP %s;branch=z9hG4bKin%s%d;rport\nMax-Forwards: 70\nFrom: %s\nTo: %s\nCall-ID: %s\nCSeq: %d %s\n%s\n%s",
					method, d.target, d.a.addr, method, d.seq, d.local, d.remote, d.callID, d.seq, method, d.a.contact(), everything), "a\x00b\r\n")
				m := way.to.a.expect(method)
				fmt.Fprintf(&story, "# %s %s\n%s", way.name, method, difference(sent, m.raw))
				via, _ := m.Get("Via")
				answered := way.to.a.utters(fmt.Sprintf("SIP/2.0 202 Taken as read\nVia: %s\nFrom: %s\nTo: %s\nCall-ID: %s\nCSeq: %d %s\n%s\n%s",
					via, m.From, m.To, m.CallID, m.CSeq, method, way.to.a.contact(), everything), "c\xffd\r\n")
				back := d.a.expect("202 " + method)
				fmt.Fprintf(&story, "# its response\n%s", difference(answered, back.raw))
			}
		}
		st.hangUp(caller, called)
	})
	golden(t, filepath.Join("testdata/transparency", "inside.diff"), story.String())
	for _, line := range beyondBlanks(story.String()) {
		if h := headerOf(line); h != "" && !slices.Contains(listed, strings.ToLower(h)) {
			t.Errorf("%s is changed inside a call, and docs/INTEROP.md does not say so: %s", h, line)
		}
	}
}
