package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"nines/journal"
)

// A route is one place of the API. The doors, the OpenAPI document and its tests are made of the same table: see [routes].
type route struct {
	method, path string // as in [http.ServeMux]: {name} is a part of the path
	role         role   // the least that may
	about        string // a sentence for the document
	query        []param
	body, gives  reflect.Type // nil: none; gives is what 200 answers
	csv          bool         // ?format=csv answers a table instead
	binary       string       // answers this instead of JSON
	lines        bool         // ?format=jsonl answers a line of JSON for each
	report       bool         // ?format=html and ?format=markdown answer a page
	stream       bool         // answers server-sent events
	do           func(*ask) (any, error)
	serve        func(http.ResponseWriter, *ask) // instead of do, for what is not one JSON value
}

// param is a query parameter.
type param struct{ name, about string }

// ask is one request to the API.
type ask struct {
	*http.Request
	node Node
	live *live
	who  visitor
}

// by says who acts: over HTTP the token's owner, whatever the request claims; over the control socket whoever the request names.
func (a *ask) by(said string) string {
	if a.who.control {
		return said
	}
	return a.who.name
}

// mask says how much of telephone numbers who asks may see.
func (a *ask) mask() journal.Mask { return a.who.mask() }

// get is a route that reads.
func get[A any](path, about string, do func(*ask) (A, error), query ...param) route {
	return route{
		method: http.MethodGet, path: path, role: viewer, about: about, gives: reflect.TypeFor[A](), query: query,
		do: func(a *ask) (any, error) { return do(a) },
	}
}

// act is a route that changes something. B is the body it takes: struct{} is none.
func act[B, A any](method, path string, role role, about string, do func(*ask, B) (A, error), query ...param) route {
	r := route{method: method, path: path, role: role, about: about, gives: reflect.TypeFor[A](), query: query}
	if b := reflect.TypeFor[B](); b != reflect.TypeFor[struct{}]() {
		r.body = b
	}
	r.do = func(a *ask) (any, error) {
		var body B
		if r.body != nil {
			if err := readJSON(a.Body, &body); err != nil {
				return nil, err
			}
		}
		return do(a, body)
	}
	return r
}

// readJSON reads one JSON value and nothing else. What it does not know is a mistake: a misspelt field must not be passed over in silence.
func readJSON(from io.Reader, into any) error {
	d := json.NewDecoder(from)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return Mistake("read the request: " + err.Error())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Mistake("read the request: there is more than one JSON value")
	}
	return nil
}

// routes is the API.
func routes() []route {
	return slices.Concat(
		statusRoutes,
		holdRoutes,
		treatRoutes,
		callRoutes,
		callBackRoutes, journalRoutes, noticeRoutes,
		liveRoutes,
		documentRoutes,
	)
}

// handleAPI puts the API into a mux. Who the visitor is was found out before; here it is looked whether they may.
func handleAPI(mux *http.ServeMux, node Node, l *live, who func(*http.Request) visitor, log zerolog.Logger) {
	for _, rt := range routes() {
		mux.HandleFunc(rt.method+" "+rt.path, func(w http.ResponseWriter, r *http.Request) {
			a := &ask{Request: r, node: node, live: l, who: who(r)}
			if code, why := rt.allows(a.who); why != "" {
				write(w, code, Problem{why})
				return
			}
			if rt.serve != nil {
				rt.serve(w, a)
				return
			}
			result, err := rt.do(a)
			if err != nil && blame(err) == http.StatusInternalServerError {
				log.Warn().Err(err).Str("request", rt.method+" "+rt.path).Msg("a request to the API could not be done")
			}
			answer(w, result, err)
		})
	}
	for pattern, methods := range byPath(routes()) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", methods)
			write(w, http.StatusMethodNotAllowed, Problem{"this takes " + methods})
		})
	}
	mux.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusNotFound, Problem{"there is no such place in the API; /api/v1/openapi.json lists what there is"})
	})
}

// byPath gives each path the methods that it takes.
func byPath(all []route) map[string]string {
	methods := map[string][]string{}
	for _, r := range all {
		methods[r.path] = append(methods[r.path], r.method)
	}
	joined := map[string]string{}
	for path, m := range methods {
		slices.Sort(m)
		joined[path] = strings.Join(m, ", ")
	}
	return joined
}

// allows says why the visitor may not, and with which code; empty: they may.
func (r *route) allows(v visitor) (code int, why string) {
	switch {
	case v.role < r.role && v.name == "":
		return http.StatusUnauthorized, "this needs a token of the file console.tokens_file, or the nines command on the machine"
	case v.role < r.role:
		return http.StatusForbidden, fmt.Sprintf("the token of %s is a %s's; this is for: %s", v.name, v.role, r.role)
	case r.method != http.MethodGet && v.session:
		return http.StatusForbidden, "the API's acts take a bearer token, not a page's session"
	}
	return 0, ""
}
