package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed uac.xml
var uacScenario string

//go:embed uas.xml
var uasScenario string

const (
	talk        = 200 * time.Millisecond // how long a call of the cost runs talks
	carrierPort = "6060"
	carrierRTP  = 30000 // SIPp takes this port itself; calls have those after it
	roomRTP     = 40000
)

// result is what a carrier saw.
type result struct {
	calls, failed   int
	retransmissions int // of the carrier and the room together
	elapsed         time.Duration
	delays          []float64 // ms from INVITE to 180, sorted
	busy            float64   // share of their core that the generators took
}

// String is one line for the log.
func (r result) String() string {
	s := fmt.Sprintf("%d calls in %s, %d failed, %d retransmissions", r.calls, r.elapsed.Round(100*time.Millisecond), r.failed, r.retransmissions)
	if len(r.delays) > 0 {
		s += fmt.Sprintf(", INVITE to 180 %.2f ms (99 of 100: %.2f)", r.quantile(.5), r.quantile(.99))
	}
	return s
}

// keptUp says that every call was answered and ended, that hardly anything was sent twice or, over a stream, would have been, and that calls were placed in
// time.
func (r result) keptUp(rate int) bool {
	planned := time.Duration(r.calls) * time.Second / time.Duration(rate)
	return r.calls > 0 && r.failed == 0 && r.retransmissions*100 <= r.calls && r.quantile(.99) < ms(t1) && r.elapsed < planned+planned/20
}

// t1 is when an INVITE without a response is sent again (RFC 3261 §17.1.1.1).
const t1 = 500 * time.Millisecond

func (r result) quantile(q float64) float64 {
	if len(r.delays) == 0 {
		return 0
	}
	return r.delays[min(len(r.delays)-1, int(q*float64(len(r.delays))))]
}

// sipp is a SIPp that runs.
type sipp struct {
	*program
	dir     string
	started time.Time
}

// startRoom starts the control room.
func (b *bench) startRoom(trace bool) (*sipp, error) {
	s, err := b.startSIPp("uas", uasScenario, trace, "-p", "5070", "-mp", strconv.Itoa(roomRTP))
	if err != nil {
		return nil, err
	}
	return s, s.listens("udp", roomAddress)
}

// startCarrier places calls at a rate, each of which talks for a while.
func (b *bench) startCarrier(to string, rate, calls int, talk time.Duration, trace bool) (*sipp, error) {
	return b.startSIPp("uac", uacScenario, trace, "-p", carrierPort, "-mp", strconv.Itoa(carrierRTP), "-r", strconv.Itoa(rate), "-m", strconv.Itoa(calls),
		"-l", "100000", "-d", strconv.FormatInt(talk.Milliseconds(), 10), "-recv_timeout", "60000", to)
}

func (b *bench) startSIPp(name, scenario string, trace bool, args ...string) (*sipp, error) {
	dir, err := os.MkdirTemp(b.dir, name)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, name+".xml")
	if err := os.WriteFile(file, []byte(scenario), 0o644); err != nil {
		return nil, err
	}
	args = append([]string{
		"sipp", "-sf", file, "-i", "127.0.0.1", "-nostdin", "-buff_size", "4000000",
		"-trace_stat", "-stf", filepath.Join(dir, "stat.csv"), "-fd", "1",
	}, args...)
	if trace {
		args = append(args, "-trace_msg", "-message_file", filepath.Join(dir, "messages"))
	}
	p, err := startProgram(b.coreGen, dir, "sipp "+name, args)
	if err != nil {
		return nil, err
	}
	return &sipp{p, dir, time.Now()}, nil
}

// callFor places calls for a while and waits until all have ended.
func (b *bench) callFor(ctx context.Context, to string, rate int, d, talk time.Duration) (result, error) {
	carrier, err := b.startCarrier(to, rate, int(float64(rate)*d.Seconds()), talk, false)
	if err != nil {
		return result{}, err
	}
	defer carrier.stop()
	return carrier.wait(ctx)
}

// wait waits until the carrier has placed all its calls.
func (s *sipp) wait(ctx context.Context) (result, error) {
	stop := context.AfterFunc(ctx, s.stop)
	err := s.cmd.Wait()
	elapsed := time.Since(s.started)
	if !stop() {
		return result{}, ctx.Err()
	}
	r := s.stats()
	r.elapsed = elapsed
	if r.calls == 0 {
		return r, errors.Join(fmt.Errorf("sipp placed no call: %s", tail(s.said.String())), err)
	}
	return r, nil
}

// settled reads the figures when SIPp has written them once more.
func (s *sipp) settled() result {
	time.Sleep(1500 * time.Millisecond)
	return s.stats()
}

// stats reads the last line of SIPp's statistics.
func (s *sipp) stats() result {
	f, err := os.Open(filepath.Join(s.dir, "stat.csv"))
	if err != nil {
		return result{}
	}
	defer f.Close()
	reader := csv.NewReader(f)
	reader.Comma, reader.FieldsPerRecord, reader.LazyQuotes = ';', -1, true
	rows, err := reader.ReadAll()
	if err != nil || len(rows) < 2 {
		return result{}
	}
	last := rows[len(rows)-1]
	get := func(column string) int {
		i := slices.Index(rows[0], column)
		if i < 0 || i >= len(last) {
			return 0
		}
		n, _ := strconv.Atoi(last[i])
		return n
	}
	return result{calls: get("TotalCallCreated"), failed: get("FailedCall(C)"), retransmissions: get("Retransmissions(C)")}
}

// end is one side's media: our port and the port of the relay that was given to it.
type end struct{ ours, relay int }

var (
	callIDLine = regexp.MustCompile(`(?i)^call-id: *(\S+)`)
	mediaLine  = regexp.MustCompile(`^m=audio (\d+) `)
)

// mediaEnds reads from the messages which of our ports talks to which port of the relay.
func mediaEnds(sides ...*sipp) ([]end, error) {
	var ends []end
	for _, side := range sides {
		f, err := os.Open(filepath.Join(side.dir, "messages"))
		if err != nil {
			return nil, err
		}
		ours, relay := map[string]int{}, map[string]int{}
		into, id := ours, ""
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			line := strings.TrimRight(lines.Text(), "\r")
			switch {
			case strings.Contains(line, " message sent "):
				into = ours
			case strings.Contains(line, " message received "):
				into = relay
			default:
				if m := callIDLine.FindStringSubmatch(line); m != nil {
					id = m[1]
				} else if m := mediaLine.FindStringSubmatch(line); m != nil {
					into[id], _ = strconv.Atoi(m[1])
				}
			}
		}
		f.Close()
		if err := lines.Err(); err != nil {
			return nil, err
		}
		for id, port := range ours {
			if relay[id] != 0 {
				ends = append(ends, end{port, relay[id]})
			}
		}
	}
	return ends, nil
}

func tail(s string) string {
	return s[max(0, len(s)-400):]
}
