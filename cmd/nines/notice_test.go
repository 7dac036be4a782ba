package main

import (
	"context"
	"strings"
	"testing"

	"nines/console"
)

func (node) Notices() console.NoticeList {
	return console.NoticeList{Notices: []console.NoticeStatus{{ID: "1123-1", Severity: "critical", Code: "calls-diverted", Title: "emergency calls are answered elsewhere", Text: "control-room is down.", Began: now, Waits: true}}}
}

func (node) Acknowledge(_ context.Context, id, by string) (console.AcknowledgeResult, error) {
	if id != "" && id != "1123-1" {
		return console.AcknowledgeResult{}, console.Mistake("no such notice is called " + id)
	}
	return console.AcknowledgeResult{Notices: []console.NoticeStatus{{ID: "1123-1", Text: "control-room is down.", AcknowledgedBy: by}}}, nil
}

func (node) TryNotices(context.Context, string) error { return nil }

func (node) PublicNotice() console.PublicNotice {
	return console.PublicNotice{"en": "Dial 999 as usual.", "cy": "Ffoniwch 999 fel arfer."}
}

func TestNoticesAreListedAndAcknowledged(t *testing.T) {
	run := startNode(t, node{})
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"notices", "--run", run}, exitDone, "NOT ACKNOWLEDGED"},
		{[]string{"notices", "--run", run, "--json"}, exitDone, `"id": "1123-1"`},
		{[]string{"notices", "--trial", "--run", run}, exitUsage, "--by"},
		{[]string{"acknowledge", "--by", "alice", "--run", run}, exitDone, "1123-1 is acknowledged by alice"},
		{[]string{"acknowledge", "1123-1", "--by", "alice", "--run", run}, exitDone, "acknowledged by alice"},
		{[]string{"acknowledge", "7", "--by", "alice", "--run", run}, exitFailed, "no such notice"},
		{[]string{"acknowledge", "1123-1", "--run", run}, exitUsage, "acknowledge needs --by"},
		{[]string{"notice", "--run", run}, exitDone, "Dial 999 as usual."},
		{[]string{"notice", "--lang", "cy", "--run", run}, exitDone, "Ffoniwch 999"},
		{[]string{"notice", "--lang", "xx", "--run", run}, exitUsage, "en and cy"},
		{[]string{"notice", "--config", "../../configs/small.yaml"}, exitDone, "dial 999 or 112 as usual"},
	} {
		got := program{}.try(t, tt.args...)
		if got.code != tt.code || !strings.Contains(got.out+got.errors, tt.want) {
			t.Errorf("nines %s: exit %d, %q %q; want exit %d and %q", strings.Join(tt.args, " "), got.code, got.out, got.errors, tt.code, tt.want)
		}
	}
}
