package journal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestASecondPlaceGetsEachEntryAndMayFail(t *testing.T) {
	s := newShelf(t)
	inTheWay := filepath.Join(filepath.Dir(s.path), "elsewhere")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	lines := filepath.Join(inTheWay, "book.jsonl")
	s.cfg.Also = []Sink{{File: lines}}
	b, stop := s.open()
	for _, e := range callEntries(1, began) {
		b.Append(e)
	}
	s.commit(b, Entry{Type: OperatorAct, By: "alice"})
	eventually(t, "the second place fails", func() bool { return b.Health().Also[0].Error != "" })
	s.sound()
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second place has all", func() bool { return b.Health().Also[0].Sent == 9 && b.Health().Also[0].Error == "" })
	if err := os.Rename(lines, lines+".1"); err != nil { // as log files are turned over
		t.Fatal(err)
	}
	s.commit(b, Entry{Type: OperatorAct, By: "bob"})
	eventually(t, "a fresh file is begun", func() bool { return b.Health().Also[0].Sent == 10 })
	stop()
	old, err := os.ReadFile(lines + ".1")
	if err != nil || bytes.Count(old, []byte("\n")) != 9 || !strings.Contains(string(old), `"caller":"+441905330001"`) {
		t.Errorf("the file has %q, %v; want nine lines", old, err)
	}
	fresh, err := os.ReadFile(lines)
	if err != nil || !strings.Contains(string(fresh), `"by":"bob"`) {
		t.Errorf("the fresh file has %q, %v", fresh, err)
	}
}

func TestALoggingServiceGetsWhatI3Knows(t *testing.T) {
	var mu sync.Mutex
	var got []map[string]any
	answers := []int{500, 201, 400} // it fails, takes one, refuses one, and takes the others
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		code := 201
		if len(answers) > 0 {
			code, answers = answers[0], answers[1:]
		}
		w.WriteHeader(code)
		if code != 201 {
			return
		}
		body, _ := io.ReadAll(r.Body)
		var jws struct{ Protected, Payload, Signature string }
		if err := json.Unmarshal(body, &jws); err != nil || r.URL.Path != "/logging/LogEvents" || r.Method != http.MethodPost {
			t.Errorf("%s %s brought %q", r.Method, r.URL, body)
			return
		}
		text, err := base64.RawURLEncoding.DecodeString(jws.Payload)
		var event map[string]any
		if err == nil {
			err = json.Unmarshal(text, &event)
		}
		if err != nil {
			t.Errorf("the payload %q is none: %v", jws.Payload, err)
			return
		}
		got = append(got, event)
	}))
	defer server.Close()
	s := newShelf(t)
	s.cfg.Node, s.cfg.Also = "west-mercia", []Sink{{I3: server.URL + "/logging/"}}
	b, _ := s.open()
	for _, e := range callEntries(1, began) {
		b.Append(e)
	}
	s.commit(b, Entry{Type: OperatorAct})
	eventually(t, "all was sent", func() bool { h := b.Health().Also[0]; return h.Sent+h.Lost == 9 })
	if h := b.Health().Also[0]; h.Lost != 1 {
		t.Errorf("the second place is %+v; want the one that it refused to be lost", h)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 6 { // eight of the call, less one that is ours alone and one that was refused
		t.Fatalf("the service took %d events: %v", len(got), got)
	}
	first := got[0]
	if first["logEventType"] != "CallStartLogEvent" || first["elementId"] != "west-mercia" || first["callIdSip"] != "c000001@bt" || first["callId"] != "urn:emergency:uid:callid:c000001:west-mercia" {
		t.Errorf("the first event is %v", first)
	}
	if _, err := time.Parse(time.RFC3339, first["timestamp"].(string)); err != nil {
		t.Errorf("its time: %v", err)
	}
}

func TestASlowSecondPlaceLosesForItselfOnly(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer server.Close()
	defer close(hang)
	s := newShelf(t)
	s.cfg.Also = []Sink{{I3: server.URL}}
	b, stop := s.open()
	for range 2 * sinkBatches {
		b.Append(Entry{Type: CallStart})
		s.commit(b, Entry{Type: OperatorAct})
	}
	if h := b.Health(); h.Lost != 0 || h.Also[0].Lost == 0 {
		t.Errorf("the book lost %d, the second place %d; want none and some", h.Lost, h.Also[0].Lost)
	}
	start := time.Now()
	stop()
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("the end took %s", took)
	}
	s.sound()
}
