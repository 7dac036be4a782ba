package txn

import (
	"runtime"
	"strconv"
	"testing"
	"time"
)

// call runs the transactions of one call as a B2BUA sees them: INVITE in and out, 100, 180 and 200 both ways, BYE in and out.
func call(tb *Table[*int], now time.Time, n int, flow *int, msg []byte, eff []Effect[*int]) []Effect[*int] {
	branch := "z9hG4bK" + strconv.Itoa(n)
	in, out := ServerKey(branch, "192.0.2.1:5060", "INVITE"), ClientKey(branch, "INVITE")
	byeIn, byeOut := ServerKey(branch, "192.0.2.1:5060", "BYE"), ClientKey(branch, "BYE")
	owner := uint64(n)
	_, _, eff = tb.Receive(now, in, owner, flow, true, false, eff[:0])
	eff = tb.Respond(now, in, 100, msg, eff)
	eff = tb.Request(now, out, owner, flow, true, false, msg, 0, eff)
	for _, code := range []int{100, 180, 200} {
		_, _, _, eff = tb.Response(now, out, code, eff)
		if code > 100 {
			eff = tb.Respond(now, in, code, msg, eff)
		}
	}
	_, _, eff = tb.Receive(now, byeIn, owner, flow, false, false, eff)
	eff = tb.Respond(now, byeIn, 200, msg, eff)
	eff = tb.Request(now, byeOut, owner, flow, false, false, msg, 0, eff)
	_, _, _, eff = tb.Response(now, byeOut, 200, eff)
	return tb.Tick(now, eff)
}

// BenchmarkCall is the cost of the four transactions of a call at 2,000 calls/s, with all the finished ones of the last 32 s around.
func BenchmarkCall(b *testing.B) {
	const every = time.Second / 2000
	tb, now, flow, msg := New[*int](Timers{}), time.Unix(0, 0), new(int), make([]byte, 600)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := 0
	var eff []Effect[*int]
	for ; n < 70000; n++ {
		now = now.Add(every)
		eff = call(tb, now, n, flow, msg, eff)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(every)
		n++
		eff = call(tb, now, n, flow, msg, eff)
	}
	b.ReportMetric(float64(tb.Len()), "txns")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(tb.Len()), "B/txn")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4, "ns/txn")
}

// BenchmarkRepeat is the cost of one repeated request among 60,000 transactions that linger.
func BenchmarkRepeat(b *testing.B) {
	tb, now, flow, msg := New[*int](Timers{}), time.Unix(0, 0), new(int), make([]byte, 600)
	keys := make([]Key, 60000)
	for i := range keys {
		keys[i] = ServerKey("z9hG4bK"+strconv.Itoa(i), "192.0.2.1:5060", "BYE")
		tb.Receive(now, keys[i], uint64(i), flow, false, false, nil)
		tb.Respond(now, keys[i], 200, msg, nil)
	}
	var eff []Effect[*int]
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i = (i + 7919) % len(keys)
		_, _, eff = tb.Receive(now, keys[i], 0, flow, false, false, eff[:0])
	}
}
