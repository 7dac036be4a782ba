package town

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Ladder collects the SIP messages on a network and draws them, a diagram for each Call-ID.
type Ladder struct {
	net   *Network
	start time.Time
	limit int

	mu    sync.Mutex
	rungs []rung
	talks map[string]string // Call-ID → conversation
}

// rung is one message.
type rung struct {
	packet Packet
	callID string
	text   string
}

// NewLadder taps a network. It keeps the first 100,000 messages.
func NewLadder(n *Network) *Ladder {
	l := &Ladder{net: n, start: time.Now(), limit: 100_000, talks: make(map[string]string)}
	n.Tap(l.see)
	return l
}

// see takes a packet from the tap.
func (l *Ladder) see(p Packet) {
	if !p.TCP {
		l.note(p, p.Data)
		return
	}
	for rest := p.Data; ; { // a segment that holds half a message is drawn as what it is
		message, after := cutMessage(rest)
		if message == nil {
			return
		}
		l.note(p, message)
		rest = after
	}
}

func (l *Ladder) note(p Packet, data []byte) {
	if !bytes.Contains(data, []byte("SIP/2.0")) {
		return
	}
	m, err := ParseMessage(data)
	if err != nil {
		return
	}
	text := m.Brief()
	if sdp := m.sdp(); sdp != "" {
		text += " +sdp"
	}
	if m.Method == "INVITE" && param(m.Get("To"), "tag") != "" {
		text = "re-" + text
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rungs) >= l.limit {
		return
	}
	callID := m.Get("Call-ID")
	if talk := m.Get(conversation); talk != "" {
		l.talks[callID] = talk
	}
	p.Data = nil // a tap must not keep it
	l.rungs = append(l.rungs, rung{packet: p, callID: callID, text: text})
}

// String draws every call.
func (l *Ladder) String() string { return l.draw(func(string) bool { return true }) }

// CallID draws one leg.
func (l *Ladder) CallID(id string) string { return l.draw(func(c string) bool { return c == id }) }

// Talk draws all legs of a conversation ([Record].ID) in one diagram.
func (l *Ladder) Talk(id string) string {
	return l.drawOne("conversation "+id, func(c string) bool { return l.talks[c] == id })
}

// draw draws a diagram for each Call-ID that is wanted.
func (l *Ladder) draw(want func(callID string) bool) string {
	l.mu.Lock()
	var ids []string
	for _, r := range l.rungs {
		if want(r.callID) && !slices.Contains(ids, r.callID) {
			ids = append(ids, r.callID)
		}
	}
	l.mu.Unlock()
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(l.drawOne("Call-ID "+id, func(c string) bool { return c == id }))
		b.WriteByte('\n')
	}
	return b.String()
}

// column is how wide the way between two neighbours is drawn.
const column = 30

// drawOne draws what is wanted in one diagram, a column for each host.
func (l *Ladder) drawOne(title string, want func(callID string) bool) string {
	var (
		rungs []rung
		names []string
	)
	l.mu.Lock()
	for _, r := range l.rungs {
		if want(r.callID) {
			rungs = append(rungs, r)
		}
	}
	l.mu.Unlock() // the network calls the tap with its own lock held: never ask it for names under ours
	for _, r := range rungs {
		for _, a := range []netip.AddrPort{r.packet.From, r.packet.To} {
			if name := l.net.nameOf(a); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%10s", title, "")
	for _, name := range names {
		fmt.Fprintf(&b, "  %-*s", column-2, name)
	}
	b.WriteByte('\n')
	for _, r := range rungs {
		from, to := slices.Index(names, l.net.nameOf(r.packet.From)), slices.Index(names, l.net.nameOf(r.packet.To))
		fmt.Fprintf(&b, "%10s%s%s\n", l.when(r.packet), arrow(len(names), from, to, r), l.remark(r.packet))
	}
	return b.String()
}

func (l *Ladder) when(p Packet) string {
	return fmt.Sprintf("%.3fs ", p.Came.Sub(l.start).Seconds())
}

func (l *Ladder) remark(p Packet) string {
	var notes []string
	if p.TCP {
		notes = append(notes, "tcp")
	}
	if p.Copy {
		notes = append(notes, "copy")
	}
	switch p.Fate {
	case Delivered:
		if took := p.Came.Sub(p.Sent); took > 50*time.Millisecond {
			notes = append(notes, "took "+took.Round(time.Millisecond).String())
		}
	case Lost:
		notes = append(notes, "lost")
	case Refused:
		notes = append(notes, "refused")
	}
	if len(notes) == 0 {
		return ""
	}
	return "  (" + strings.Join(notes, ", ") + ")"
}

// arrow draws one message between two of the columns.
func arrow(columns, from, to int, r rung) string {
	line := []byte(strings.Repeat(" ", columns*column))
	for i := range columns {
		line[2+i*column] = '|'
	}
	left, right := 2+min(from, to)*column, 2+max(from, to)*column
	if left == right {
		return string(line) + " " + r.text + " to itself"
	}
	for i := left + 1; i < right; i++ {
		line[i] = '-'
	}
	head := byte('>')
	at := right - 1
	if to < from {
		head, at = '<', left+1
	}
	if r.packet.Fate != Delivered {
		head = 'x'
	}
	line[at] = head
	text := " " + r.text + " "
	if room := right - left - 4; len(text) > room {
		text = text[:room]
	}
	copy(line[left+2:], text)
	return strings.TrimRight(string(line), " ")
}

// nameOf names who has an address.
func (n *Network) nameOf(a netip.AddrPort) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[a.Addr()]; h != nil {
		return h.name
	}
	return a.Addr().String()
}
