package acceptance

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"nines/console"
)

// TestABrokenInviteIsAnsweredAndRemembered: PRODUCT sections 5 and 12. An INVITE that no parser takes reaches the room all the same, and the book, the command line and the
// console's story of the call say that it had to be mended. One that nothing can be made of is in the book with its text; a whole one is not marked.
func TestABrokenInviteIsAnsweredAndRemembered(t *testing.T) {
	t.Parallel()
	p := newPlace()
	n := start(t, p, threeTrunks)
	newDesk(t, p.sip(10), func(string) string { return strings.ReplaceAll(offer, "HOST", p.ip(10).String()) })
	n.verdict("up", "control-room")
	s := listen(t, p.at(200, 0))

	placed := func(what string, d dialog, edit func([]byte) []byte) {
		t.Helper()
		d.body = offer
		m := s.final(t, p, edit(request("INVITE", s.at, p, d)))
		if m.Code != 200 {
			t.Fatalf("%s got %d, want 200", what, m.Code)
		}
		s.hangUp(t, p, m)
	}
	salvaged := n.status().SIP.Salvaged
	whole := func(b []byte) []byte { return b }
	placed("a whole INVITE", dialog{callID: "whole"}, whole)
	broken := map[string]func([]byte) []byte{
		"no-colon": func(b []byte) []byte {
			return bytes.Replace(b, []byte("Max-Forwards"), []byte("this is no header\r\nMax-Forwards"), 1)
		},
		"no-quote": func(b []byte) []byte { return bytes.Replace(b, []byte("From: <"), []byte("From: \"unfinished <"), 1) },
		"no-number": func(b []byte) []byte {
			return bytes.Replace(b, []byte("Max-Forwards: 70"), []byte("Max-Forwards: seventy"), 1)
		},
		"bytes": func(b []byte) []byte {
			return bytes.Replace(b, []byte("Max-Forwards"), []byte("\x00\xff\xfe\r\nMax-Forwards"), 1)
		},
	}
	for callID, edit := range broken {
		placed(callID, dialog{callID: callID}, edit)
	}
	text := []byte("INVITE \x00\xff nothing-at-all-of-a-request\r\n\r\n")
	nothing := base64.StdEncoding.EncodeToString(text) // it is no UTF-8
	s.says(t, p.sip(1), text)

	eventually(t, 30*time.Second, "the book is made", func() bool {
		_, code := n.cli("journal", "tail", "-n", "1")
		return code == 0
	})
	type mark struct{ What, Call, Data string }
	read := func(args ...string) (marks map[string]mark, refused []string) {
		marks = map[string]mark{}
		out, code := n.cli(args...)
		if code != 0 {
			t.Fatalf("nines %v ended with %d:\n%s", args, code, out)
		}
		for line := range strings.Lines(out) {
			var e console.JournalEntry
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("nines %v: %v in %q", args, err, line)
			}
			switch {
			case e.Type != "MalformedMessageLogEvent":
			case e.What == "salvaged":
				marks[e.CallID] = mark{e.What, e.Call, string(e.Data)}
			case e.What == "refused":
				refused = append(refused, string(e.Data))
			default:
				t.Errorf("a malformed message is %q", e.What)
			}
		}
		return marks, refused
	}
	for _, args := range [][]string{{"journal", "tail", "--json", "-n", "1000"}, {"journal", "export", "--since", "1h"}} {
		var marks map[string]mark
		var refused []string
		eventually(t, 30*time.Second, "the book has every broken INVITE", func() bool {
			marks, refused = read(args...)
			return len(marks) >= len(broken) && len(refused) > 0
		})
		for callID := range broken {
			if marks[callID].Call == "" {
				t.Errorf("nines %v has no mark of the call %s", args, callID)
			}
		}
		if len(marks) != len(broken) {
			t.Errorf("nines %v marks %v, want the %d broken ones alone", args, marks, len(broken))
		}
		if len(refused) != 1 || !strings.Contains(refused[0], nothing) {
			t.Errorf("nines %v: what could not be read stands there as %q; want it once, with its text", args, refused)
		}
		for callID, m := range marks { // in the story of the call, to who reads the console
			code, story := get(t, p, "/api/v1/calls/"+m.Call)
			if code != 200 || !strings.Contains(story, "MalformedMessageLogEvent") {
				t.Errorf("%s: the console's story does not say it: %d\n%.500s", callID, code, story)
			}
			if code, page := get(t, p, "/calls/"+m.Call); code != 200 || !strings.Contains(page, "had to be mended") {
				t.Errorf("%s: the call's page (%d) does not say that the INVITE had to be mended", callID, code)
			}
		}
	}
	listed := func(when string) {
		t.Helper()
		_, list := get(t, p, "/api/v1/calls")
		var calls console.CallList
		if err := json.Unmarshal([]byte(list), &calls); err != nil || len(calls.Calls) != len(broken)+1 {
			t.Fatalf("%s the console lists %d calls, want %d: %v", when, len(calls.Calls), len(broken)+1, err)
		}
		for _, c := range calls.Calls {
			if _, isBroken := broken[c.CallID]; c.Malformed != isBroken {
				t.Errorf("%s the list marks the call %s as malformed: %v", when, c.CallID, c.Malformed)
			}
			if c.Endpoint != "control-room" || c.Outcome != "answered" {
				t.Errorf("%s the call %s was %s by %q, want answered by the room", when, c.CallID, c.Outcome, c.Endpoint)
			}
		}
		if out, code := n.cli("calls"); code != 0 || strings.Count(out, "answered, malformed") != len(broken) {
			t.Errorf("%s nines calls: exit %d, want %d marked as malformed:\n%s", when, code, len(broken), out)
		}
		if _, page := get(t, p, "/calls"); strings.Count(page, "had to be mended") != len(broken) {
			t.Errorf("%s the page marks %d calls as malformed, want %d", when, strings.Count(page, "had to be mended"), len(broken))
		}
	}
	eventually(t, 30*time.Second, "the console knows how every call ended", func() bool {
		_, list := get(t, p, "/api/v1/calls")
		return strings.Count(list, `"outcome":"answered"`) == len(broken)+1
	})
	listed("from memory")
	if got := n.status().SIP.Salvaged - salvaged; got < uint64(len(broken)) {
		t.Errorf("%d are counted as mended, want %d", got, len(broken))
	}
	for _, line := range n.log.with("call came in") {
		_, isBroken := broken[field(line, "call_id")]
		if marked := strings.Contains(line, `"malformed":true`); marked != isBroken {
			t.Errorf("the log marks it %v: %s", marked, line)
		}
	}
	n.empty(5 * time.Second)
	n.stop()
	n.console = nil
	n.launch()
	listed("from the book")
}

// TestACallerOfAnUnreadableInviteCanBeForgotten: the text of an INVITE that nothing could be made of is kept, and a person's number may stand in it.
func TestACallerOfAnUnreadableInviteCanBeForgotten(t *testing.T) {
	t.Parallel()
	p := newPlace()
	n := start(t, p, threeTrunks)
	s := listen(t, p.at(200, 0))
	s.says(t, p.sip(1), []byte("INVITE  \r\nFrom: <sip:+447700900123@x>\r\nCall-ID: one\r\n\r\n"))
	s.says(t, p.sip(1), []byte("INVITE \xff\r\nf: <sip:+447700900123@x>\r\nCall-ID: two\r\nX: \xfe\r\n\r\n"))
	s.says(t, p.sip(1), []byte("INVITE sip:999@x SIP/2.0\r\nFrom: <sip:+447700900123@x>\r\nCall-ID: three\r\n"+strings.Repeat("X: y\r\n", 5000)+"\r\n"))
	read := func() string {
		out, _ := n.cli("journal", "export", "--type", "MalformedMessageLogEvent")
		return out
	}
	eventually(t, 30*time.Second, "the book has all three", func() bool { return strings.Count(read(), `"what":"refused"`) == 3 })
	if out := read(); strings.Count(out, `"text":"INVITE`) != 3 || strings.Count(out, "+447700900123@x") != 3 {
		t.Errorf("the book does not show what came:\n%s", out)
	}
	if out, code := n.cli("journal", "erase", "+447700900123", "--by", "alice", "--why", "request 17"); code != 0 || !strings.Contains(out, "erased in 3 entries") {
		t.Errorf("erasing ended with %d and %q, want it in 3 entries", code, out)
	}
	if out := read(); strings.Contains(out, "7700900123") || strings.Count(out, `"what":"refused"`) != 3 {
		t.Errorf("the number is still in the book, or more than that is gone:\n%s", out)
	}
	if out, code := n.cli("journal", "verify"); code != 0 {
		t.Errorf("the book does not hold together after it: %d\n%s", code, out)
	}
}

// field reads a text of a line of the log.
func field(line, name string) string {
	var all map[string]any
	_ = json.Unmarshal([]byte(line), &all)
	text, _ := all[name].(string)
	return text
}
