package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
)

// Problem is the body of every answer that is no success.
type Problem struct {
	Error string `json:"error"` // what is wrong, in words for a person
}

// controlHandler is what the control socket may do: everything. Who can open the socket is the node's own user.
func controlHandler(node Node, metrics prometheus.Gatherer, l *live, log zerolog.Logger) http.Handler {
	mux := http.NewServeMux()
	handleProbes(mux, node, metrics, log)
	handleAPI(mux, node, l, func(*http.Request) visitor { return visitor{role: admin, control: true} }, log)
	return mux
}

// publicHandler is what the TCP door may do: metrics and probes for everybody who can reach it, the rest for who the guard lets in.
func publicHandler(node Node, metrics prometheus.Gatherer, g *guard, l *live, log zerolog.Logger) http.Handler {
	api := http.NewServeMux()
	handleAPI(api, node, l, visitorOf, log)
	mux := http.NewServeMux()
	handleProbes(mux, node, metrics, log)
	mux.Handle("/api/", guardedAPI(g, api))
	(&pages{node: node, guard: g, live: l, log: log}).handle(mux)
	return careful(http.NewCrossOriginProtection().Handler(mux))
}

// guardedAPI asks the guard before the API is reached.
func guardedAPI(g *guard, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := g.visitor(r)
		switch {
		case errors.Is(err, errTooMany):
			w.Header().Set("Retry-After", "5")
			write(w, http.StatusTooManyRequests, Problem{err.Error()})
		case err != nil:
			w.Header().Set("WWW-Authenticate", `Bearer realm="nines"`)
			write(w, http.StatusUnauthorized, Problem{err.Error()})
		default:
			next.ServeHTTP(w, withVisitor(r, v))
		}
	})
}

type visitorKey struct{}

func withVisitor(r *http.Request, v visitor) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), visitorKey{}, v))
}

// visitorOf is who the guard let in.
func visitorOf(r *http.Request) visitor {
	v, _ := r.Context().Value(visitorKey{}).(visitor)
	return v
}

func handleProbes(mux *http.ServeMux, node Node, metrics prometheus.Gatherer, log zerolog.Logger) {
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError, // one bad metric does not hide the others
		ErrorLog:            promLog{log},
		MaxRequestsInFlight: 4,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := node.Ready(); err != nil {
			text(w, http.StatusServiceUnavailable, "takes no calls: "+err.Error())
			return
		}
		text(w, http.StatusOK, "takes calls")
	})
}

var statusRoutes = []route{
	get("/api/v1/status", "How the node is: endpoints and what is believed of them, calls, rescues, trunks, counters.", func(a *ask) (Status, error) {
		return a.node.Status(), nil
	}),
	get("/api/v1/status/endpoints/{name}", "One endpoint: the evidence for its verdict, and what brings it back.", func(a *ask) (EndpointStatus, error) {
		status := a.node.Status()
		e, ok := status.Endpoint(a.PathValue("name"))
		if !ok {
			return e, fmt.Errorf("%w: %s", ErrNotFound, noEndpoint(a.PathValue("name"), status.Endpoints))
		}
		return e, nil
	}),
	get("/api/v1/version", "Which nines is running.", func(a *ask) (Version, error) { return a.node.Status().Version, nil }),
	act(http.MethodPost, "/api/v1/reload", admin, "Have the node read its configuration again. A refused file changes nothing and answers 422 with its problems.",
		func(a *ask, _ struct{}) (ReloadResult, error) {
			result, err := a.node.Reload(a.Context())
			if err != nil {
				err = fmt.Errorf("reload: %w", err)
			}
			return result, err
		}),
}

func noEndpoint(name string, known []EndpointStatus) string {
	names := make([]string, len(known))
	for i, e := range known {
		names[i] = e.Name
	}
	return fmt.Sprintf("no endpoint is called %q; there are %s", name, strings.Join(names, ", "))
}

func write(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the reader has gone: nobody to tell
}

func text(w http.ResponseWriter, code int, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = fmt.Fprintln(w, s)
}

// promLog gives promhttp's complaints to our log.
type promLog struct{ log zerolog.Logger }

// Println logs one complaint.
func (l promLog) Println(v ...any) {
	l.log.Warn().Str("error", fmt.Sprint(v...)).Msg("a metric is wrong")
}
