package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"nines/journal"
)

//go:embed web
var web embed.FS

// build names the script and the style that belong together.
var build = sum("web/app.js", "web/style.css")

func sum(files ...string) string {
	h := sha256.New()
	for _, name := range files {
		b, err := web.ReadFile(name)
		if err != nil {
			panic("the console lacks " + name)
		}
		_, _ = h.Write(b) // a hash never fails
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// functions are what the templates may call.
var functions = template.FuncMap{
	"clock":    func(t time.Time) string { return t.Format(time.TimeOnly) },
	"stamp":    func(t time.Time) string { return t.Format("2006-01-02 15:04:05") },
	"iso":      func(t time.Time) string { return t.Format("2006-01-02T15:04:05.000Z07:00") },
	"zone":     func(t time.Time) string { return t.Format("MST") },
	"since":    func(now, then time.Time) string { return ago(now, then) },
	"ms":       func(v float64) string { return fmt.Sprintf("%.0f ms", v) },
	"list":     func(items []string) string { return strings.Join(items, ", ") },
	"lower":    strings.ToLower,
	"path":     url.PathEscape,
	"left":     func(h interface{ left() string }) string { return h.left() },
	"span":     func(d time.Duration) string { return d.Round(100 * time.Millisecond).String() },
	"minutes":  func(d time.Duration) string { return fmt.Sprintf("%.1f", d.Minutes()) },
	"clockms":  func(t time.Time) string { return t.Format(clockMillis) },
	"number":   func(i int) int { return i + 1 },
	"spoken":   func(word string) string { return strings.ReplaceAll(word, "_", " ") },
	"outcomes": func() []string { return []string{"answered", "refused", "cancelled", "lost_talking"} },
}

// templates has each page with the layout around it.
var templates = parseTemplates()

func parseTemplates() map[string]*template.Template {
	layout := template.Must(template.New("").Funcs(functions).ParseFS(web, "web/layout.html", "web/parts.html"))
	files, err := fs.Glob(web, "web/page-*.html")
	if err != nil {
		panic(err) // the pattern is right
	}
	all := map[string]*template.Template{}
	for _, f := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(path.Base(f), "page-"), ".html")
		all[name] = template.Must(template.Must(layout.Clone()).ParseFS(web, f))
	}
	return all
}

// page is what the layout needs; Data is the page's own.
type page struct {
	Code    int // of the answer; 0: 200
	Title   string
	Here    string // which entry of the navigation this is
	Live    string // the view that the page follows; empty: none, and the page says so
	Say     string // for who listens
	Node    string
	Now     time.Time
	Build   string
	Theme   string // light, dark or empty: as the browser wants it
	Keys    bool   // single keys are shortcuts
	Visitor visitor
	Error   string
	Done    string // what an act has come to
	Data    any
	Back    string // where to go after signing in
}

// Name is who is signed in.
func (p page) Name() string { return p.Visitor.name }

// Role is what they may.
func (p page) Role() string { return p.Visitor.role.String() }

// CSRF is what their forms carry.
func (p page) CSRF() string { return p.Visitor.csrf }

// MayAct says whether the page shows forms that act.
func (p page) MayAct() bool { return p.Visitor.session && p.Visitor.role >= operator }

// MayReload says whether it shows the one for admins.
func (p page) MayReload() bool { return p.Visitor.session && p.Visitor.role >= admin }

// Numbers says whether telephone numbers are shown.
func (p page) Numbers() bool { return p.Visitor.numbers() }

// pages serves what a person looks at.
type pages struct {
	node  Node
	guard *guard
	live  *live
	log   zerolog.Logger
}

// handle puts the pages into the TCP door's mux.
func (p *pages) handle(mux *http.ServeMux) {
	mux.HandleFunc("GET /static/{file}", p.static)
	mux.HandleFunc("GET /login", p.loginForm)
	mux.HandleFunc("POST /login", p.login)
	mux.HandleFunc("POST /logout", p.logout)
	mux.HandleFunc("POST /theme", p.theme)

	mux.HandleFunc("GET /{$}", p.open(viewer, p.board))
	mux.HandleFunc("GET /live/{view...}", p.follow)
	mux.HandleFunc("GET /help", p.open(viewer, func(w http.ResponseWriter, r *http.Request, v visitor) {
		p.show(w, r, v, "help", page{Title: "Help", Here: "help"})
	}))
	mux.HandleFunc("GET /calls", p.open(viewer, p.calls))
	mux.HandleFunc("GET /calls/{id}", p.open(viewer, p.call))
	mux.HandleFunc("GET /callbacks", p.open(viewer, p.callBacks))
	mux.HandleFunc("POST /callbacks/done", p.form(operator, p.callBackDone))
	mux.HandleFunc("GET /endpoints/{name}", p.open(viewer, p.endpoint))
	mux.HandleFunc("POST /endpoints/{name}/hold", p.form(operator, p.hold))
	mux.HandleFunc("POST /endpoints/{name}/release", p.form(operator, p.release))
	mux.HandleFunc("GET /routes/{name}", p.open(viewer, p.route))
	mux.HandleFunc("POST /routes/{name}/treat", p.form(operator, p.treat))
	mux.HandleFunc("POST /routes/{name}/untreat", p.form(operator, p.untreat))
	mux.HandleFunc("POST /notices/acknowledge", p.form(operator, p.acknowledge))
	mux.HandleFunc("GET /incidents", p.open(viewer, p.incidents))
	mux.HandleFunc("GET /incidents/{id}", p.open(viewer, p.incident))
	mux.HandleFunc("POST /incidents/{id}/confirm", p.form(operator, p.confirmIncident))
	mux.HandleFunc("POST /reload", p.form(admin, p.reload))
	mux.HandleFunc("/", p.open(viewer, func(w http.ResponseWriter, r *http.Request, v visitor) {
		p.fail(w, r, v, http.StatusNotFound, "There is no such page.")
	}))
}

type pageHandler func(http.ResponseWriter, *http.Request, visitor)

// open lets visitors of a role in; nobody is asked to sign in.
func (p *pages) open(least role, next pageHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := p.guard.visitor(r)
		if err != nil || v.role < least {
			p.askToSignIn(w, r, v)
			return
		}
		next(w, r, v)
	}
}

// form is open for what acts: a form of a signed-in visitor, that we gave them.
func (p *pages) form(least role, next pageHandler) http.HandlerFunc {
	return p.open(least, func(w http.ResponseWriter, r *http.Request, v visitor) {
		if !v.session || !same(r.PostFormValue("csrf"), v.csrf) {
			p.fail(w, r, v, http.StatusForbidden, "This form was not made for this session: go back, load the page again, and try once more.")
			return
		}
		next(w, r, v)
	})
}

func (p *pages) askToSignIn(w http.ResponseWriter, r *http.Request, v visitor) {
	if r.Method != http.MethodGet {
		p.fail(w, r, v, http.StatusUnauthorized, "This needs somebody who is signed in and may do it.")
		return
	}
	p.show(w, r, v, "login", page{
		Code: http.StatusUnauthorized, Title: "Sign in", Here: "login", Back: r.URL.RequestURI(), Error: "This page needs somebody who is signed in and may see it.",
	})
}

// show writes a page. It is rendered whole before the first byte goes out.
func (p *pages) show(w http.ResponseWriter, r *http.Request, v visitor, name string, pg page) {
	pg.Visitor, pg.Build, pg.Now = v, build, time.Now()
	if pg.Node == "" && v.role >= viewer {
		pg.Node = p.live.latest().Status.Name
	}
	pg.Theme, pg.Keys = themeOf(r), true
	if c, err := r.Cookie("keys"); err == nil && c.Value == "off" {
		pg.Keys = false
	}
	var b bytes.Buffer
	if err := templates[name].ExecuteTemplate(&b, "layout", pg); err != nil {
		p.log.Warn().Err(err).Str("page", name).Msg("a page of the console could not be made")
		http.Error(w, "this page could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(max(pg.Code, http.StatusOK))
	_, _ = w.Write(b.Bytes()) // the reader has gone: nobody to tell
}

func (p *pages) fail(w http.ResponseWriter, r *http.Request, v visitor, code int, why string) {
	p.show(w, r, v, "error", page{Code: code, Title: http.StatusText(code), Error: why})
}

// failed shows what an act has come to that was not done.
func (p *pages) failed(w http.ResponseWriter, r *http.Request, v visitor, err error) {
	p.fail(w, r, v, blame(err), sentence(err))
}

// sentence is an error as a page says it.
func sentence(err error) string { return strings.TrimPrefix(err.Error(), ErrNotFound.Error()+": ") }

func (p *pages) static(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	if ext := path.Ext(name); ext != ".js" && ext != ".css" && ext != ".svg" {
		http.NotFound(w, r)
		return
	}
	if r.URL.Query().Get("v") == build {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable") // its address names what is in it
	}
	http.ServeFileFS(w, r, web, "web/"+name)
}

func themeOf(r *http.Request) string {
	if c, err := r.Cookie("theme"); err == nil && (c.Value == "light" || c.Value == "dark") {
		return c.Value
	}
	return ""
}

// theme is the switch for who has no script.
func (p *pages) theme(w http.ResponseWriter, r *http.Request) {
	next := map[string]string{"": "dark", "dark": "light", "light": ""}[themeOf(r)]
	http.SetCookie(w, &http.Cookie{Name: "theme", Value: next, Path: "/", MaxAge: 365 * 24 * 3600, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, local(r.PostFormValue("back")), http.StatusSeeOther)
}

// local is a path of ours; what leads elsewhere leads home.
func local(back string) string {
	u, err := url.Parse(back)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") || strings.Contains(back, `\`) {
		return "/"
	}
	return u.RequestURI()
}

func (p *pages) loginForm(w http.ResponseWriter, r *http.Request) {
	v, _ := p.guard.visitor(r)
	p.show(w, r, v, "login", page{Title: "Sign in", Here: "login", Back: local(r.URL.Query().Get("back"))})
}

func (p *pages) login(w http.ResponseWriter, r *http.Request) {
	back := local(r.PostFormValue("back"))
	t, err := p.guard.check(r, strings.TrimSpace(r.PostFormValue("token")))
	if err != nil {
		code := http.StatusUnauthorized
		if errors.Is(err, errTooMany) {
			code = http.StatusTooManyRequests
		}
		v, _ := p.guard.sessions.visitor(r)
		p.show(w, r, v, "login", page{Code: code, Title: "Sign in", Here: "login", Back: back, Error: "Not signed in: " + err.Error() + "."})
		return
	}
	p.guard.sessions.begin(w, t)
	http.Redirect(w, r, back, http.StatusSeeOther)
}

func (p *pages) logout(w http.ResponseWriter, r *http.Request) {
	p.guard.sessions.end(w)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// pieces renders the named parts of a page: "piece-answer" becomes "answer".
func (p *pages) pieces(pageName string, data any, names ...string) picture {
	out := picture{}
	for _, name := range names {
		var b bytes.Buffer
		if err := templates[pageName].ExecuteTemplate(&b, "piece-"+name, data); err != nil {
			p.log.Warn().Err(err).Str("page", pageName).Msg("a page of the console could not be made")
			continue
		}
		out[name] = b.String()
	}
	return out
}

var boardPieces = []string{"answer", "tiles", "routine", "endpoints", "notices", "callbacks", "calls", "plots"}

func (p *pages) board(w http.ResponseWriter, r *http.Request, v visitor) {
	s := p.look(r)
	b := newBoard(s, v.mask())
	p.show(w, r, v, "board", page{Title: b.title(), Here: "board", Live: "board", Say: b.say(), Node: b.Node, Data: b, Done: done(r)})
}

// follow sends the pieces of a page that change, as they change.
func (p *pages) follow(w http.ResponseWriter, r *http.Request) {
	v, err := p.guard.visitor(r)
	if err != nil {
		write(w, http.StatusUnauthorized, Problem{err.Error()})
		return
	}
	name := r.PathValue("view")
	render := p.view(name, v.mask())
	if render == nil {
		write(w, http.StatusNotFound, Problem{"there is no such view"})
		return
	}
	key := name
	if v.numbers() {
		key += "?numbers"
	}
	p.live.serve(w, r, key, render, func(at time.Time, changed picture) (string, any) {
		u := patch{At: at.UnixMilli(), Title: changed["title"], Say: changed["say"], HTML: map[string]string{}}
		for piece, text := range changed {
			if piece != "title" && piece != "say" {
				u.HTML[piece] = text
			}
		}
		return "patch", u
	})
}

// patch is what has changed on a page.
type patch struct {
	At    int64             `json:"at"`
	Title string            `json:"title,omitempty"`
	Say   string            `json:"say,omitempty"`
	HTML  map[string]string `json:"html"`
}

// view gives the renderer of a page's moving pieces.
func (p *pages) view(name string, mask journal.Mask) func(snapshot) picture {
	switch {
	case name == "board":
		return func(s snapshot) picture {
			b := newBoard(s, mask)
			out := p.pieces("board", b, boardPieces...)
			out["title"], out["say"] = b.title(), b.say()
			return out
		}
	case strings.HasPrefix(name, "endpoint/"):
		endpoint := strings.TrimPrefix(name, "endpoint/")
		return func(s snapshot) picture {
			d, ok := newEndpointPage(s, endpoint)
			if !ok {
				return picture{}
			}
			return p.pieces("endpoint", d, "verdict")
		}
	case strings.HasPrefix(name, "route/"):
		route := strings.TrimPrefix(name, "route/")
		return func(s snapshot) picture {
			d, ok := newRoutePage(&s.Status, route)
			if !ok {
				return picture{}
			}
			return p.pieces("route", d, "route")
		}
	case name == incidentViews, strings.HasPrefix(name, incidentViews+"/"):
		return p.incidentView(name)
	case name == "clock": // pages that stand still still know the time
		return func(snapshot) picture { return picture{} }
	}
	return nil
}
