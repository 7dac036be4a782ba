package app

import (
	"testing"
	"time"

	"nines/console"
	"nines/policy"
)

func TestTheGapsOfRescuesAreRemembered(t *testing.T) {
	tally := newTally()
	var got console.RescueStatus
	if tally.rescues(&got); got.GapP50Millis != 0 || got.Latest != nil {
		t.Errorf("before the first rescue the gaps are %+v, want none", got)
	}
	tally.Rescued("999", policy.Emergency, "north", -time.Millisecond) // its early media came before the lost one's last packet
	for ms := range 2 * maxGaps {
		tally.Rescued("999", policy.Emergency, "north", time.Duration(ms+1)*time.Millisecond)
	}
	tally.rescues(&got)
	if got.LastGapMillis != 2000 || got.GapP50Millis != 1500 || got.GapP99Millis != 1990 {
		t.Errorf("of the gaps 1 to 2000 ms the last is %v, median %v, p99 %v; want 2000, 1500 and 1990, of the latest thousand",
			got.LastGapMillis, got.GapP50Millis, got.GapP99Millis)
	}
	if last := got.Latest[len(got.Latest)-1]; len(got.Latest) != maxMoved || last.GapMillis != 2000 || last.Endpoint != "north" {
		t.Errorf("%d rescues are listed, the last %+v; want %d, and the one of 2000 ms", len(got.Latest), last, maxMoved)
	}
	h := tally.gaps[policy.Emergency]
	total := uint64(0)
	for _, n := range h.Counts {
		total += n
	}
	if total != 2*maxGaps+1 || h.Counts[0] != 101 || h.Sum < 2000 {
		t.Errorf("the histogram has %d gaps, %d up to 100 ms, sum %v s; want 2001, 101 and a sum that nothing was taken from", total, h.Counts[0], h.Sum)
	}
}

func TestTheWorstOfAFewGapsIsTheir99thPercentile(t *testing.T) {
	for _, tt := range []struct {
		gaps     []time.Duration
		p50, p99 time.Duration
	}{
		{[]time.Duration{7}, 7, 7},
		{[]time.Duration{1, 9}, 1, 9},
		{[]time.Duration{1, 2, 30}, 2, 30},
	} {
		if p50, p99 := quantile(tt.gaps, .5), quantile(tt.gaps, .99); p50 != tt.p50 || p99 != tt.p99 {
			t.Errorf("%v: median %d, p99 %d; want %d and %d", tt.gaps, p50, p99, tt.p50, tt.p99)
		}
	}
}
