package leg

import (
	"strings"
	"testing"
)

func TestTheTagIsTakenOutAndNothingElse(t *testing.T) {
	for _, tt := range []struct{ value, rest, tag string }{
		{`<sip:a@b>;tag=1`, `<sip:a@b>`, "1"},
		{`"Al" <sip:a@b;x=1>;tag=1;p=2`, `"Al" <sip:a@b;x=1>;p=2`, "1"},
		{`"Al" <sip:a@b>;p=2;TAG=1`, `"Al" <sip:a@b>;p=2`, "1"},
		{`"; tag=no \" <" <sip:a@b;tag=no> ; tag = 1`, `"; tag=no \" <" <sip:a@b;tag=no>`, "1"},
		{`sip:a@b;tag=1`, `sip:a@b`, "1"},
		{`<sip:a@b>;q="x;tag=no";tag=yes`, `<sip:a@b>;q="x;tag=no"`, "yes"},
		{`<sip:a@b>`, `<sip:a@b>`, ""},
		{`<sip:a@b>;tag`, `<sip:a@b>`, ""},
		{`<sip:a@b;tag=no`, `<sip:a@b`, "no"},
		{``, ``, ""},
	} {
		if rest, tag := SplitTag(tt.value); rest != tt.rest || tag != tt.tag {
			t.Errorf("%s: got %q and %q, want %q and %q", tt.value, rest, tag, tt.rest, tt.tag)
		}
	}
}

func TestWhoIsALooseRouter(t *testing.T) {
	for _, tt := range []struct {
		route string
		loose bool
		uri   string // as Request-URI
	}{
		{"<sip:p;lr>", true, "sip:p;lr"},
		{"<sip:p;lr=on>;x=y", true, "sip:p;lr=on"},
		{"<sip:p;transport=tcp;LR>", true, "sip:p;transport=tcp;LR"},
		{`"a <b>" <sip:p;lr>`, true, "sip:p;lr"},
		{"<sip:p>;lr", false, "sip:p"},
		{"<sip:lr@p;lrx>", false, "sip:lr@p;lrx"},
		{"<sip:p;method=INVITE;a=b?h=;lr>", false, "sip:p;a=b"},
		{"sip:p", false, "sip:p"},
		{"<sip:p", false, "<sip:p"},
		{"", false, ""},
	} {
		if got := loose(tt.route); got != tt.loose {
			t.Errorf("%s is a loose router: got %v, want %v", tt.route, got, tt.loose)
		}
		if got := requestURI(addressURI(tt.route)); got != tt.uri {
			t.Errorf("%s as Request-URI: got %q, want %q", tt.route, got, tt.uri)
		}
	}
}

func FuzzSplitTag(f *testing.F) {
	for _, s := range []string{`"Al" <sip:a@b;x=1>;tag=1;p=2`, `sip:a@b;tag=1`, `"\`, `<<>>;;tag=;tag`, `"a;tag=1`, ";tag=x;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		rest, tag := SplitTag(value)
		if len(rest)+len(tag) > len(value) {
			t.Errorf("%q became longer: %q and %q", value, rest, tag)
		}
		if !strings.Contains(value, tag) {
			t.Errorf("%q has no tag %q", value, tag)
		}
		_ = loose(value)
		if uri := requestURI(addressURI(value)); len(uri) > len(value) {
			t.Errorf("%q became longer as URI: %q", value, uri)
		}
	})
}

func TestALegKeepsNoMessageAlive(t *testing.T) {
	message := strings.Repeat("x", 64) + "call-id" + strings.Repeat("y", 1<<16)
	l := NewUAS(Invite{CallID: message[64:71], From: message[:5], FromTag: "t", To: "x"}, "us", "<c>")
	if l.CallID != "call-id" || l.Remote != "xxxxx" || l.LocalTag != "us" || l.Contact != "<c>" {
		t.Errorf("got %+v, want the parts in their places", l)
	}
	if n := testing.AllocsPerRun(100, func() { pack(&l.CallID, &l.Remote, &l.Local, &l.Contact) }); n > 1 {
		t.Errorf("strings of a leg cost %v allocations, want one for all", n)
	}
}

func TestALegLearnsOnlySoManyNames(t *testing.T) {
	l := NewUAS(Invite{CallID: "c", Allow: make([]string, 5000)}, "us", "")
	if len(l.Allow) != mostNames {
		t.Errorf("names kept of a peer that sends 5000: got %d, want %d", len(l.Allow), mostNames)
	}
	l.learn([]string{"INVITE", "X-" + "ODD"}, []string{"TIMER"})
	if !l.Allows("X-ODD") || l.Allows("UPDATE") || !l.Supports("timer") {
		t.Errorf("got %v and %v, want what the peer said last, whatever its case", l.Allow, l.Supported)
	}
	silent := NewUAS(Invite{CallID: "c"}, "us", "")
	if !silent.Allows("INFO") || silent.Allows("UPDATE") || silent.Supports("100rel") {
		t.Error("a peer without Allow takes INFO, is not believed to take UPDATE, and knows no extension")
	}
}
