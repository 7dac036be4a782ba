package console

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"nines/journal"
)

// JournalKeeper is what the console needs to know of the book and of what is folded from it.
type JournalKeeper interface {
	// Journal gives entries to each, until there are no more or each returns an error.
	Journal(ctx context.Context, q journal.Query, each func(journal.Entry) error) error
	JournalHealth() journal.Health
	// VerifyJournal reads the whole book. A book that is broken is a verdict, not an error.
	VerifyJournal(ctx context.Context, known []journal.Signature) (journal.Verdict, error)
	// EraseNumber forgets a person's number. The error is a [Mistake] or a fault of ours.
	EraseNumber(ctx context.Context, req EraseRequest) (journal.Erasure, error)

	// Incidents gives those that began since then, oldest first.
	Incidents(ctx context.Context, since time.Time) (IncidentList, error)
	// Incident gives the report of one. The error wraps [ErrNotFound] where there is none.
	Incident(ctx context.Context, id string) (journal.Report, error)
	// ConfirmIncident says that a person has seen an incident to be over.
	ConfirmIncident(ctx context.Context, c Confirmation) (ConfirmResult, error)
	// Ledger says what partners did for us.
	Ledger(ctx context.Context, since, until time.Time) (LedgerList, error)
}

// JournalQuery says which entries of the book are wanted. It and the next have names here so that a command need not know the room.
type JournalQuery = journal.Query

// JournalEntry is one line of the book.
type JournalEntry = journal.Entry

// JournalType is the kind of an entry.
type JournalType = journal.Type

// JournalVerdict says whether a book holds together.
type JournalVerdict = journal.Verdict

// JournalHead says where a book's chain stood.
type JournalHead = journal.Signature

// KnownHeads reads heads that somebody kept, as SEQ:HASH.
func KnownHeads(said []string) ([]JournalHead, error) { return knownHeads(said) }

// JournalPage is entries of the book.
type JournalPage struct {
	Entries []journal.Entry `json:"entries"`
	More    bool            `json:"more"` // there are more than were asked for: ask again after the last one's seq
}

// EraseRequest asks for a person's number to be forgotten.
type EraseRequest struct {
	Number string `json:"number"`
	By     string `json:"by"`
	Why    string `json:"why"`
}

// IncidentList is incidents, the oldest first.
type IncidentList struct {
	Incidents []*journal.Incident `json:"incidents"`
	Trouble   string              `json:"trouble,omitempty"` // why some may be missing
}

// Confirmation is a person's word that an incident is over.
type Confirmation struct {
	Incident string `json:"incident"`
	By       string `json:"by"`
	Why      string `json:"why"` // what was tried
}

// ConfirmResult is what became of a confirmation.
type ConfirmResult struct {
	Incident *journal.Incident `json:"incident"`
	NotKept  string            `json:"not_kept,omitempty"` // why it is not in the book yet
}

// LedgerList is what partners did for us in a time.
type LedgerList struct {
	Since time.Time     `json:"since,omitzero"`
	Until time.Time     `json:"until,omitzero"`
	Uses  []journal.Use `json:"uses"`
}

const (
	usualEntries = 1000
	longAnswer   = 30 * time.Minute // how long the whole book may take to be read or sent
)

var journalParams = []param{
	{"call", "our name for a call, or a Call-ID"},
	{"number", "of caller or called, in any spelling; for an operator"},
	{"endpoint", "that is spoken of"},
	{"type", "one or several, with commas: CallEndLogEvent,NinesOperatorAct"},
	{"since", "made then or later, as in RFC 3339"},
	{"until", "made before"},
	{"after", "entries with greater numbers"},
	{"before", "entries with smaller numbers"},
	{"newest", "yes: the newest first"},
	{"limit", "as many; 1000 when left out, 0 for all with format=jsonl"},
	{"format", "jsonl: a line of JSON for each entry"},
}

var journalRoutes = []route{
	{
		method: http.MethodGet, path: "/api/v1/journal", role: viewer, gives: reflect.TypeFor[JournalPage](), query: journalParams, lines: true,
		about: "The book: what happened to each call, what was believed of each endpoint, what operators did.", serve: serveJournal,
	},
	get("/api/v1/journal/health", "How the book is: what waits, what was lost, the last error.", func(a *ask) (journal.Health, error) {
		return a.node.JournalHealth(), nil
	}),
	get("/api/v1/journal/verify", "Reads the whole book and follows its chain; names the first entry that is not what was written.", func(a *ask) (journal.Verdict, error) {
		known, err := knownHeads(a.URL.Query()["head"])
		if err != nil {
			return journal.Verdict{}, err
		}
		return a.node.VerifyJournal(a.Context(), known)
	}, param{"head", "SEQ:HASH of a head that was kept elsewhere; may be repeated"}),
	act(http.MethodPost, "/api/v1/journal/erase", admin, "Forget a person's number. The chain of the book still holds.", func(a *ask, req EraseRequest) (journal.Erasure, error) {
		req.By = a.by(req.By)
		return a.node.EraseNumber(a.Context(), req)
	}),
	get("/api/v1/incidents", "Outages of own rooms, from the first failed evidence to proven recovery, the oldest first.", func(a *ask) (IncidentList, error) {
		since, err := timeOf(a.URL.Query(), "since")
		if err != nil {
			return IncidentList{}, err
		}
		return a.node.Incidents(a.Context(), since)
	}, param{"since", "begun then or later, as in RFC 3339; the last 31 days when left out"}),
	{
		method: http.MethodGet, path: "/api/v1/incidents/{id}", role: viewer, gives: reflect.TypeFor[journal.Report](), report: true,
		about: "The report of one incident.", query: []param{{"format", "html or markdown instead of JSON"}}, serve: serveReport,
	},
	act(http.MethodPost, "/api/v1/incidents/{id}/confirm", operator, "Say that an incident has been seen to be over.", func(a *ask, c Confirmation) (ConfirmResult, error) {
		c.Incident, c.By = a.PathValue("id"), a.by(c.By)
		return a.node.ConfirmIncident(a.Context(), c)
	}),
	{
		method: http.MethodGet, path: "/api/v1/ledger", role: viewer, csv: true, gives: reflect.TypeFor[LedgerList](),
		about: "What each partner did for us: calls, minutes, peak.",
		query: []param{{"since", "as in RFC 3339; the last 31 days when left out"}, {"until", "as in RFC 3339"}, {"format", "csv: a table instead of JSON"}},
		serve: serveLedger,
	},
}

// journalQuery reads what is asked for.
func journalQuery(v url.Values, mask journal.Mask) (journal.Query, error) {
	q := journal.Query{Call: v.Get("call"), Number: v.Get("number"), Endpoint: v.Get("endpoint"), Newest: v.Get("newest") == "yes", Limit: usualEntries, Mask: mask}
	for t := range strings.SplitSeq(v.Get("type"), ",") {
		if t != "" {
			q.Types = append(q.Types, journal.Type(t))
		}
	}
	var errs []error
	number := func(name string, to *int64) {
		if s := v.Get(name); s != "" {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil || n < 0 {
				errs = append(errs, Mistake(fmt.Sprintf("%s %q: say a number", name, s)))
			}
			*to = n
		}
	}
	limit := int64(q.Limit)
	number("after", &q.After)
	number("before", &q.Before)
	number("limit", &limit)
	q.Limit = int(limit)
	var err error
	q.Since, err = timeOf(v, "since")
	errs = append(errs, err)
	q.Until, err = timeOf(v, "until")
	return q, errors.Join(append(errs, err)...)
}

func timeOf(v url.Values, name string) (time.Time, error) {
	s := v.Get(name)
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, Mistake(fmt.Sprintf("%s %q: say a time such as 2026-11-26T21:00:00Z", name, s))
	}
	return t, nil
}

// knownHeads reads heads that somebody kept.
func knownHeads(said []string) ([]journal.Signature, error) {
	var known []journal.Signature
	for _, s := range said {
		seq, hash, _ := strings.Cut(s, ":")
		n, err := strconv.ParseInt(seq, 10, 64)
		if _, bad := hex.DecodeString(hash); err != nil || bad != nil || len(hash) != 64 {
			return nil, Mistake(fmt.Sprintf("head %q: say SEQ:HASH, as in the log's line about the book's head", s))
		}
		known = append(known, journal.Signature{Seq: n, Hash: strings.ToLower(hash)})
	}
	return known, nil
}

func serveJournal(w http.ResponseWriter, a *ask) {
	q, err := journalQuery(a.URL.Query(), a.mask())
	if err == nil && q.Number != "" && !a.who.numbers() {
		err = errNumber
	}
	if err != nil {
		answer(w, nil, err)
		return
	}
	if a.URL.Query().Get("format") == "jsonl" {
		serveLines(w, a, q)
		return
	}
	if q.Limit == 0 || q.Limit > 10*usualEntries {
		answer(w, nil, Mistake(fmt.Sprintf("limit: at most %d at once; for all of it say format=jsonl", 10*usualEntries)))
		return
	}
	page := JournalPage{Entries: []journal.Entry{}}
	most := q.Limit
	q.Limit++
	err = a.node.Journal(a.Context(), q, func(e journal.Entry) error {
		if len(page.Entries) == most {
			page.More = true
			return nil
		}
		page.Entries = append(page.Entries, e)
		return nil
	})
	answer(w, page, err)
}

// serveLines sends entries as they are read. An error in the middle is a line of its own: the code has been sent.
func serveLines(w http.ResponseWriter, a *ask, q journal.Query) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(longAnswer)) // where there is none the usual one stays
	w.Header().Set("Content-Type", "application/jsonl")
	w.Header().Set("Cache-Control", "no-store")
	e := json.NewEncoder(w)
	if err := a.node.Journal(a.Context(), q, func(entry journal.Entry) error { return e.Encode(entry) }); err != nil {
		_ = e.Encode(Problem{err.Error()}) // the reader has gone: nobody to tell
	}
}

func serveReport(w http.ResponseWriter, a *ask) {
	r, err := a.node.Incident(a.Context(), a.PathValue("id"))
	format := a.URL.Query().Get("format")
	if err != nil || format == "" {
		answer(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	switch format {
	case "html":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		// The report has its own style in itself, and nothing that runs.
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		_ = r.WriteHTML(w) // the reader has gone: nobody to tell
	case "markdown":
		w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
		_ = r.WriteMarkdown(w) // the reader has gone: nobody to tell
	default:
		answer(w, nil, Mistake(fmt.Sprintf("format %q: say html or markdown, or nothing for JSON", format)))
	}
}

func serveLedger(w http.ResponseWriter, a *ask) {
	since, err := timeOf(a.URL.Query(), "since")
	until, err2 := timeOf(a.URL.Query(), "until")
	var l LedgerList
	if err = errors.Join(err, err2); err == nil {
		l, err = a.node.Ledger(a.Context(), since, until)
	}
	if err != nil || a.URL.Query().Get("format") != "csv" {
		answer(w, l, err)
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="ledger.csv"`)
	w.Header().Set("Cache-Control", "no-store")
	_ = l.WriteCSV(w) // the reader has gone: nobody to tell
}

// WriteCSV writes a line a partner, for a spreadsheet.
func (l *LedgerList) WriteCSV(w io.Writer) error {
	return journal.WriteLedger(w, l.Since, l.Until, l.Uses)
}

// values is a query as a URL has it.
func journalValues(q journal.Query) url.Values {
	v := url.Values{}
	set := func(name, s string) {
		if s != "" {
			v.Set(name, s)
		}
	}
	set("call", q.Call)
	set("number", q.Number)
	set("endpoint", q.Endpoint)
	types := make([]string, len(q.Types))
	for i, t := range q.Types {
		types[i] = string(t)
	}
	set("type", strings.Join(types, ","))
	for name, t := range map[string]time.Time{"since": q.Since, "until": q.Until} {
		if !t.IsZero() {
			v.Set(name, t.Format(time.RFC3339Nano))
		}
	}
	for name, n := range map[string]int64{"after": q.After, "before": q.Before} {
		if n > 0 {
			v.Set(name, strconv.FormatInt(n, 10))
		}
	}
	if q.Newest {
		v.Set("newest", "yes")
	}
	v.Set("limit", strconv.Itoa(q.Limit))
	return v
}

// Journal gives the book's entries to each, in the order of the query.
func (c *Client) Journal(ctx context.Context, q journal.Query, each func(journal.Entry) error) error {
	v := journalValues(q)
	v.Set("format", "jsonl")
	body, err := c.long(ctx, "/api/v1/journal?"+v.Encode())
	if err != nil {
		return err
	}
	defer body.Close()
	for d := json.NewDecoder(body); ; {
		var line struct {
			journal.Entry
			Problem
		}
		switch err := d.Decode(&line); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the answer of %s: %w", c.socket, err)
		case line.Error != "":
			return errors.New(line.Error)
		}
		if err := each(line.Entry); err != nil {
			return err
		}
	}
}

// long asks for something that may take long.
func (c *Client) long(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://nines"+path, nil)
	if err != nil {
		return nil, err
	}
	patient := c.http
	patient.Timeout = longAnswer
	resp, err := patient.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		var p Problem
		if json.NewDecoder(resp.Body).Decode(&p) == nil && p.Error != "" {
			return nil, errors.New(p.Error)
		}
		return nil, fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return resp.Body, nil
}

// JournalHealth asks how the book is.
func (c *Client) JournalHealth(ctx context.Context) (journal.Health, error) {
	var h journal.Health
	return h, c.do(ctx, http.MethodGet, "/api/v1/journal/health", &h)
}

// VerifyJournal has the node read its whole book.
func (c *Client) VerifyJournal(ctx context.Context, heads []string) (journal.Verdict, error) {
	var verdict journal.Verdict
	v := url.Values{"head": heads}
	body, err := c.long(ctx, "/api/v1/journal/verify?"+v.Encode())
	if err != nil {
		return verdict, err
	}
	defer body.Close()
	return verdict, json.NewDecoder(body).Decode(&verdict)
}

// EraseNumber has a person's number forgotten.
func (c *Client) EraseNumber(ctx context.Context, req EraseRequest) (journal.Erasure, error) {
	var e journal.Erasure
	return e, c.send(ctx, http.MethodPost, "/api/v1/journal/erase", req, &e)
}

// Incidents asks for outages.
func (c *Client) Incidents(ctx context.Context, since time.Time) (IncidentList, error) {
	path := "/api/v1/incidents"
	if !since.IsZero() {
		path += "?since=" + url.QueryEscape(since.Format(time.RFC3339))
	}
	var l IncidentList
	return l, c.do(ctx, http.MethodGet, path, &l)
}

// Incident asks for the report of one incident, as "", "html" or "markdown".
func (c *Client) Incident(ctx context.Context, id, format string) (io.ReadCloser, error) {
	return c.long(ctx, "/api/v1/incidents/"+url.PathEscape(id)+"?format="+url.QueryEscape(format))
}

// ConfirmIncident says that an incident is over.
func (c *Client) ConfirmIncident(ctx context.Context, said Confirmation) (ConfirmResult, error) {
	var r ConfirmResult
	return r, c.send(ctx, http.MethodPost, "/api/v1/incidents/"+url.PathEscape(said.Incident)+"/confirm", said, &r)
}

// Ledger asks what partners did for us.
func (c *Client) Ledger(ctx context.Context, since, until time.Time) (LedgerList, error) {
	v := url.Values{}
	for name, t := range map[string]time.Time{"since": since, "until": until} {
		if !t.IsZero() {
			v.Set(name, t.Format(time.RFC3339))
		}
	}
	var l LedgerList
	return l, c.do(ctx, http.MethodGet, "/api/v1/ledger?"+v.Encode(), &l)
}

// WriteVerdict writes whether a book holds together.
func WriteVerdict(w io.Writer, name string, v *JournalVerdict) error {
	p := &printer{w: w}
	if v.OK {
		p.line("%s holds together: entries %d to %d", name, v.First, v.Last)
	} else {
		p.line("%s IS BROKEN at entry %d of %s: %s", name, v.Broken.Seq, clock(v.Broken.At), v.Broken.Why)
		p.line("  right up to there: entries %d to %d", v.First, v.Last)
	}
	if v.Last > 0 {
		p.line("  from     %s to %s", clock(v.From), clock(v.To))
		p.line("  head     %d:%s", v.Last, v.Head)
	}
	for i, s := range v.Signed {
		p.line("  signed   %d:%s", s.Seq, s.Hash)
		if i == 0 && v.Heads > 2 {
			p.line("           and %d more", v.Heads-2)
		}
	}
	for _, k := range v.Keys {
		p.line("  by key   %s", k)
	}
	if v.Heads == 0 {
		p.line("  no head was signed yet")
	}
	if v.Cut {
		p.line("  its beginning was forgotten, and where it begins now is written down")
	}
	if v.Gaps > 0 {
		p.line("  gaps     %d, with %d entries lost as far as it is known", v.Gaps, v.Lost)
	}
	if v.Erased > 0 {
		p.line("  erased   something personal in %d entries", v.Erased)
	}
	return p.err
}

// WriteEntry writes an entry on a line, for a terminal.
func WriteEntry(w io.Writer, e *JournalEntry) error {
	words := []string{fmt.Sprintf("%7d", e.Seq), e.At.Local().Format("2006-01-02 15:04:05.000"), strings.TrimSuffix(strings.TrimPrefix(string(e.Type), "Nines"), "LogEvent")}
	add := func(name, s string) {
		if s != "" {
			words = append(words, name+plainly(s))
		}
	}
	add("call=", e.Call)
	add("trunk=", e.Trunk)
	add("route=", e.Route)
	add("endpoint=", e.Endpoint)
	if e.Partner {
		words = append(words, "(partner)")
	}
	if e.Attempt > 0 {
		add("attempt=", strconv.Itoa(e.Attempt))
	}
	add("caller=", e.Caller)
	add("called=", e.Called)
	add("", e.What)
	add("", e.Outcome)
	if e.Code > 0 {
		add("", strconv.Itoa(e.Code))
	}
	if e.Count > 0 {
		add("count=", strconv.Itoa(e.Count))
	}
	if e.Took > 0 {
		add("took=", e.Took.Round(time.Millisecond).String())
	}
	add("by=", e.By)
	if e.Erased {
		words = append(words, "(erased)")
	}
	if e.Why != "" {
		words = append(words, "- "+plainly(e.Why))
	}
	_, err := fmt.Fprintln(w, strings.Join(words, " "))
	return err
}

// plainly keeps what a stranger wrote from moving the cursor of a terminal.
func plainly(s string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// WriteText writes incidents as a table.
func (l *IncidentList) WriteText(w io.Writer) error {
	p := &printer{w: w}
	if len(l.Incidents) == 0 {
		p.line("no incidents")
	} else {
		p.table(func(t io.Writer) {
			fmt.Fprintln(t, "INCIDENT\tBEGAN\tRESTORED\tROOMS\tTOUCHED\tPARTNERS\tRESCUED\tLOST\tREFUSED\tCONFIRMED")
			for _, i := range l.Incidents {
				restored := "GOES ON"
				if !i.Restored.IsZero() {
					restored = clock(i.Restored)
				}
				by := i.ConfirmedBy
				if by == "" {
					by = "-"
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\n", i.ID, clock(i.Began), restored, strings.Join(i.Endpoints, ", "), i.Calls.Touched, i.Calls.ToPartners,
					i.Calls.Rescued, i.Calls.LostTalking, i.Calls.Refused, by)
			}
		})
		for _, i := range l.Incidents {
			if s := i.Now; s != nil {
				p.line("")
				p.line("%s is %s: %s; %d callers touched", i.ID, strings.ToUpper(s.Level), s.Says, s.Affected)
				for n, next := range s.Next {
					p.line("  %d. %s", n+1, next)
				}
			}
		}
	}
	if l.Trouble != "" {
		p.line("! some may be missing: %s", l.Trouble)
	}
	return p.err
}

// WriteText writes what became of a confirmation.
func (r *ConfirmResult) WriteText(w io.Writer) error {
	p := &printer{w: w}
	p.line("%s is confirmed to be over by %s", r.Incident.ID, r.Incident.ConfirmedBy)
	if r.NotKept != "" {
		p.line("  ! not in the book yet: %s", r.NotKept)
	}
	return p.err
}

// WriteText writes what partners did.
func (l *LedgerList) WriteText(w io.Writer) error {
	p := &printer{w: w}
	if len(l.Uses) == 0 {
		p.line("no partner answered a call")
		return p.err
	}
	p.table(func(t io.Writer) {
		fmt.Fprintln(t, "PARTNER\tCALLS\tMINUTES\tAT ONCE\tFIRST\tLAST")
		for _, u := range l.Uses {
			fmt.Fprintf(t, "%s\t%d\t%.1f\t%d\t%s\t%s\n", u.Name, u.Calls, u.Talk.Minutes(), u.Peak, clock(u.First), clock(u.Last))
		}
	})
	return p.err
}
