package night

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"nines/internal/town"
)

// tape keeps every SIP message of a night as it was on the wires, the ladder of it, and what the node logged.
type tape struct {
	start  time.Time
	ladder *town.Ladder
	log    *syncBuffer

	mu    sync.Mutex
	rungs []rung
	talks map[string][]int  // conversation → its rungs, in the order of their arrival; made by index
	of    map[string]string // Call-ID → conversation
}

// rung is one message.
type rung struct {
	sent, came time.Time
	from, to   netip.AddrPort
	fate       town.Fate
	tcp        bool
	callID     string
	method     string // of a request, or what a response answers
	code       int    // of a response
	cseq       uint32
	toTag      bool // it is inside a dialog; of a request
	talk       string
}

func newTape(n *town.Network, start time.Time) *tape {
	t := &tape{start: start, ladder: town.NewLadder(n), log: &syncBuffer{}}
	n.Tap(t.see)
	return t
}

func (t *tape) see(p town.Packet) {
	for data := p.Data; len(data) > 0; { // a segment may hold several messages, and half of one
		r, rest, ok := readRung(data)
		if !ok {
			return
		}
		r.sent, r.came, r.from, r.to, r.fate, r.tcp = p.Sent, p.Came, p.From, p.To, p.Fate, p.TCP
		t.mu.Lock()
		t.rungs = append(t.rungs, r)
		t.mu.Unlock()
		if !p.TCP {
			return
		}
		data = rest
	}
}

// readRung reads what the tape needs of a message, and finds the next one.
func readRung(data []byte) (r rung, rest []byte, ok bool) {
	head, body, found := bytes.Cut(data, []byte("\r\n\r\n"))
	if !found {
		return r, nil, false
	}
	first, headers, _ := bytes.Cut(head, []byte("\r\n"))
	if code, is := bytes.CutPrefix(first, []byte("SIP/2.0 ")); is {
		r.code, _ = strconv.Atoi(string(code[:min(3, len(code))]))
	} else if method, _, is := bytes.Cut(first, []byte(" ")); is && bytes.HasSuffix(first, []byte(" SIP/2.0")) {
		r.method = string(method)
	} else {
		return r, nil, false
	}
	length := 0
	for line := range bytes.SplitSeq(headers, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch string(name) {
		case "Call-ID":
			r.callID = string(value)
		case "CSeq":
			number, method, _ := bytes.Cut(value, []byte(" "))
			n, _ := strconv.ParseUint(string(number), 10, 32)
			r.cseq = uint32(n)
			r.method = string(method)
		case "To":
			r.toTag = bytes.Contains(value, []byte(";tag="))
		case "X-Town-Call":
			r.talk = string(value)
		case "Content-Length":
			length, _ = strconv.Atoi(string(value))
		}
	}
	if length > len(body) {
		length = len(body)
	}
	return r, body[length:], true
}

// index finds the messages of each conversation.
func (t *tape) index() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.talks != nil {
		return
	}
	t.of = map[string]string{}
	for i := range t.rungs {
		if r := &t.rungs[i]; r.talk != "" {
			t.of[r.callID] = r.talk
		}
	}
	t.talks = map[string][]int{}
	for i := range t.rungs {
		if talk := t.of[t.rungs[i].callID]; talk != "" {
			t.talks[talk] = append(t.talks[talk], i)
		}
	}
}

// conversation names the conversation that a Call-ID belongs to, or none.
func (t *tape) conversation(callID string) string {
	t.index()
	return t.of[callID]
}

// talk gives the messages of a conversation in the order of their arrival.
func (t *tape) talk(id string) []*rung {
	t.index()
	t.mu.Lock() // the node may be probing still
	defer t.mu.Unlock()
	rungs := make([]*rung, 0, len(t.talks[id]))
	for _, i := range t.talks[id] {
		rungs = append(rungs, &t.rungs[i])
	}
	return rungs
}

// logOf gives what the node logged of a conversation's call, and of everybody.
func (t *tape) logOf(id string) string {
	callID := ""
	for _, r := range t.talk(id) {
		if r.method == "INVITE" && r.code == 0 && r.to.Port() == 5060 && (r.to.Addr() == nodeAddr || r.to.Addr() == nodeAddr6) {
			callID = r.callID
			break
		}
	}
	name := ""
	var b strings.Builder
	lines := strings.Split(t.log.String(), "\n")
	for _, line := range lines {
		if strings.Contains(line, `"call_id":"`+callID+`"`) {
			_, rest, _ := strings.Cut(line, `"call":"`)
			name, _, _ = strings.Cut(rest, `"`)
			break
		}
	}
	for _, line := range lines {
		if strings.Contains(line, `"call":"`) && !strings.Contains(line, `"call":"`+name+`"`) {
			continue
		}
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return b.String()
}

// Run stamps a log line with the night's time.
func (t *tape) Run(e *zerolog.Event, _ zerolog.Level, _ string) {
	e.Str("t", fmt.Sprintf("%.3fs", time.Since(t.start).Seconds()))
}

// syncBuffer is a buffer for several writers.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
