package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func seeds(f *testing.F) []string {
	f.Helper()
	return []string{
		inviteText, okText, soundText, options(1), "\r\n\r\n", "\x00" + soundText,
		strings.ReplaceAll(soundText, "\r\n", "\n"), strings.ReplaceAll(soundText, "\r\n", "\r"),
		"INVITE sip:999@x SIP/2.0\r\nv: SIP / 2.0 / UDP [::1] : 5060 ; branch = \"a\r\n b\", x\r\nt: \"\\\" <sip:a>;tag=\r\n x y\r\ni:\r\n a b\r\n\r\n",
		"SIP/2.0 200\nVia\n : x\n\n",
	}
}

// FuzzParse also breaks the headers behind a sound request line: such a message must always come out, with its method and number.
func FuzzParse(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if err != nil && !errors.Is(err, ErrNoSIP) && !errors.Is(err, ErrTooLarge) {
			t.Fatalf("an error of another kind: %v", err)
		}
		if err == nil && m.IsRequest() && (m.Method == "" || m.URI == "") {
			t.Fatalf("a request without method or Request-URI came out of %q", data)
		}
		if err == nil {
			for _, h := range m.Headers {
				if h.Name == "" || strings.ContainsAny(h.Name+h.Value, "\r\n") {
					t.Fatalf("header %q came out of %q", h, data)
				}
			}
			again, err := Parse(write(m))
			if err != nil || again.Method != m.Method && m.IsRequest() || again.CallID != m.CallID || again.FromTag != m.FromTag ||
				again.Via.Branch != m.Via.Branch || again.CSeq != m.CSeq || !bytes.Equal(again.Body, m.Body) {
				t.Fatalf("written and read again it is another message: %v\n%+v\n%+v", err, m, again)
			}
		}
		text := append([]byte("INVITE sip:999@10.0.0.1 SIP/2.0\r\n"), data...)
		m, err = Parse(text)
		switch {
		case errors.Is(err, ErrTooLarge) && (len(text) > maxMessage || bytes.Count(text, []byte("\n"))+bytes.Count(text, []byte("\r")) >= maxLines):
		case err != nil || m.Method != "INVITE" || m.URI != "sip:999@10.0.0.1":
			t.Fatalf("lost %q: %v", text, err)
		}
	})
}

func write(m *Message) []byte {
	var b []byte
	if m.IsRequest() {
		b = AppendRequestLine(b, m.Method, m.URI)
	} else {
		b = AppendStatusLine(b, m.Status, m.Reason)
	}
	for _, h := range m.Headers {
		if kindOf(h.Name) != contentLength {
			b = AppendHeader(b, h.Name, h.Value)
		}
	}
	return AppendBody(b, m.Body)
}

func FuzzPeek(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkPeek(t, "fuzz", data) })
}

// FuzzStream cuts a stream in one piece and in two: the messages must be the same.
func FuzzStream(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add([]byte(s+s), uint16(len(s)/2))
	}
	f.Add([]byte(strings.Repeat("\r\n", 7)+soundText+"\r\n"), uint16(5))
	f.Add([]byte(strings.Replace(soundText, "Content-Length: 10\r\n", "", 1)+soundText), uint16(700))
	f.Fuzz(func(t *testing.T, data []byte, at uint16) {
		whole, err := cutAll(data)
		i := min(int(at), len(data))
		split, err2 := cutAll(data[:i], data[i:])
		total := 0
		for _, m := range whole {
			total += len(m)
			if len(m) > maxMessage {
				t.Fatalf("a message of %d bytes", len(m))
			}
		}
		if total > len(data) {
			t.Fatalf("%d bytes in messages of %d", total, len(data))
		}
		if noLength(whole) || noLength(split) {
			return // its end is a guess from what is there
		}
		if !errors.Is(err2, err) && !errors.Is(err, err2) || len(whole) != len(split) {
			t.Fatalf("in one piece %d messages and %v, in two %d and %v, at %d of %q", len(whole), err, len(split), err2, i, data)
		}
		for i := range whole {
			if !bytes.Equal(whole[i], split[i]) {
				t.Fatalf("message %d: %q in one piece, %q in two", i, whole[i], split[i])
			}
		}
	})
}

// cutAll runs pieces through a framer, as stream does.
func cutAll(pieces ...[]byte) (messages [][]byte, err error) {
	var f framer
	for _, p := range pieces {
		for len(p) > 0 {
			n := copy(f.space(), p)
			f.took(n)
			p = p[n:]
			for {
				what, data, err := f.next()
				if err != nil {
					return messages, err
				}
				if what == message {
					messages = append(messages, data)
				}
				if what == more {
					break
				}
			}
		}
	}
	return messages, nil
}

// noLength says that some message has no readable Content-Length.
func noLength(messages [][]byte) bool {
	for _, data := range messages {
		l := linesOf(view(data))
		l.next()
		found := false
		for name, value, ok := l.field(); ok; name, value, ok = l.field() {
			if kindOf(name) == contentLength && isDigits(value) {
				found = true
				break
			}
		}
		if !found {
			return true
		}
	}
	return false
}

func FuzzURI(f *testing.F) {
	for _, s := range []string{"sip:999@10.0.0.1", "sips:a:b@[::1]:5061;lr?x=y", "tel:+44-1;x=y", "urn:service:sos", "sip:%39%zz@x", "999", "<", "a@b@c", "sip://x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, ok := ParseURI(s)
		u.Number()
		u.Transport()
		u.LR()
		u.MAddr()
		NameAddr(s)
		TagOf(s)
		for range Split(s, ',') {
			continue
		}
		if !ok {
			return
		}
		if again, ok := ParseURI(u.String()); !ok || again != u {
			t.Fatalf("%q is %+v, written %q and read again %+v", s, u, u.String(), again)
		}
	})
}
