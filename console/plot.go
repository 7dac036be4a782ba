package console

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A plot is what a template draws as inline SVG. Coordinates are of its viewBox.
type plot struct {
	Title, Words string // what it is, and what it shows in a sentence, for who cannot see it
	W, H         int
	Bars         []bar
	Dots         []dot
	Lines        []gridLine
	Ticks        []tick
	Legend       []series
	Empty        string // instead of a picture
}

type bar struct {
	X, Y, W, H float64
	Series     int
	Partner    bool
	Words      string
}

type dot struct {
	X, Y  float64
	Slow  bool
	Words string
}

type gridLine struct {
	Y     float64
	Label string
}

type tick struct {
	X     float64
	Label string
	Last  bool // it stands at the right end
}

type series struct {
	Name    string
	Number  int
	Partner bool
	Total   int
}

const (
	plotW, plotH        = 560, 190
	plotLeft, plotRight = 36, 8
	plotTop, plotBottom = 10, 24
	plotWide, plotHigh  = plotW - plotLeft - plotRight, plotH - plotTop - plotBottom
	maxSeries           = 6 // the sixth stands for all that follow
	slowGap             = 2000.0
	wantedGridLines     = 3
	minutesBetweenTicks = 15
)

// plotMinutes draws who answered in the last hour.
func plotMinutes(hour []minute, endpoints []EndpointStatus) plot {
	p := plot{Title: "Calls answered per minute", W: plotW, H: plotH}
	number := map[string]int{}
	partner := map[string]bool{}
	totals := map[string]int{}
	for i, e := range endpoints {
		number[e.Name], partner[e.Name] = min(i+1, maxSeries), e.Partner
	}
	most := 1
	for _, m := range hour {
		most = max(most, m.Total)
		for name, n := range m.Answers {
			totals[name] += n
		}
	}
	top := niceTop(float64(most))
	p.grid(top, func(v float64) string { return fmt.Sprintf("%g", v) })
	step := float64(plotWide) / historyMinutes
	for i, m := range hour {
		x := plotLeft + plotWide - step*float64(len(hour)-i)
		y := float64(plotTop + plotHigh)
		for _, e := range endpoints {
			n := m.Answers[e.Name]
			if n == 0 {
				continue
			}
			h := float64(n) / top * plotHigh
			y -= h
			p.Bars = append(p.Bars, bar{
				X: round(x), Y: round(y), W: round(step - 1.5), H: round(h), Series: number[e.Name], Partner: e.Partner,
				Words: fmt.Sprintf("%s: %s answered %d", m.At.Format("15:04"), e.Name, n),
			})
		}
	}
	if n := len(hour); n > 0 {
		for back := 0; back < historyMinutes; back += minutesBetweenTicks {
			x := plotLeft + plotWide - step*(float64(back)+.5)
			if back == 0 {
				x = plotLeft + plotWide
			}
			p.Ticks = append(p.Ticks, tick{round(x), hour[n-1].At.Add(-time.Duration(back) * time.Minute).Format("15:04"), back == 0})
		}
	}
	var words []string
	for _, e := range endpoints {
		p.Legend = append(p.Legend, series{e.Name, number[e.Name], partner[e.Name], totals[e.Name]})
		if totals[e.Name] > 0 {
			words = append(words, fmt.Sprintf("%s %d", e.Name, totals[e.Name]))
		}
	}
	p.Words = "In the last hour nobody answered a call."
	if words != nil {
		p.Words = "In the last hour answered: " + strings.Join(words, ", ") + "."
	}
	return p
}

// plotGaps draws how long the callers of the latest rescues heard nobody.
func plotGaps(rescues []Rescue) plot {
	p := plot{Title: "Silence that callers heard at a rescue", W: plotW, H: plotH}
	if len(rescues) == 0 {
		p.Empty = "No talking call had to be moved since the start."
		p.Words = p.Empty
		return p
	}
	most := slowGap
	for _, r := range rescues {
		most = max(most, r.GapMillis)
	}
	top := niceTop(most / 1000)
	p.grid(top, func(v float64) string { return fmt.Sprintf("%g s", v) })
	step := float64(plotWide) / float64(max(len(rescues), 20))
	gaps := make([]float64, 0, len(rescues))
	for i, r := range rescues {
		gaps = append(gaps, r.GapMillis)
		p.Dots = append(p.Dots, dot{
			X: round(plotLeft + step*(float64(i)+.5)), Y: round(plotTop + plotHigh*(1-r.GapMillis/1000/top)), Slow: r.GapMillis > slowGap,
			Words: fmt.Sprintf("%s: %s, %.0f ms until %s was heard", r.At.Format(time.TimeOnly), r.Route, r.GapMillis, r.Endpoint),
		})
	}
	first, last := rescues[0], rescues[len(rescues)-1]
	p.Ticks = []tick{{round(plotLeft + 28), first.At.Format(time.TimeOnly), false}}
	if len(rescues) > 8 {
		p.Ticks = append(p.Ticks, tick{round(plotLeft + step*float64(len(rescues))), last.At.Format(time.TimeOnly), true})
	}
	slices.Sort(gaps)
	p.Words = fmt.Sprintf("The latest %d rescues: median %.0f ms, longest %.0f ms.", len(gaps), gaps[(len(gaps)-1)/2], gaps[len(gaps)-1])
	return p
}

// grid draws lines at round values from 0 to top.
func (p *plot) grid(top float64, label func(float64) string) {
	for i := range wantedGridLines {
		v := top * float64(i) / (wantedGridLines - 1)
		p.Lines = append(p.Lines, gridLine{round(plotTop + plotHigh*(1-v/top)), label(v)})
	}
}

// niceTop is the smallest of 1, 2, 4, 6, 8, 10, 20, 40… that holds v, so that its half is round too.
func niceTop(v float64) float64 {
	scale := math.Pow(10, math.Floor(math.Log10(max(v, 1))))
	for _, m := range []float64{1, 2, 4, 6, 8, 10} {
		if m*scale >= v && (m > 1 || scale > 1) {
			return m * scale
		}
	}
	return 10 * scale
}

func round(v float64) float64 { return math.Round(v*10) / 10 }
