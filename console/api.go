package console

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
)

// problem is the body of every answer that is no success.
type problem struct {
	Error string `json:"error"`
}

// controlHandler is what the control socket may do: everything. Who can open the socket is the node's own user.
func controlHandler(node Node, metrics prometheus.Gatherer, log zerolog.Logger) http.Handler {
	mux := http.NewServeMux()
	handleProbes(mux, node, metrics, log)
	handleReads(mux, node)
	handleHolds(mux, node)
	mux.HandleFunc("POST /api/v1/reload", func(w http.ResponseWriter, r *http.Request) { reload(w, r, node, log) })
	return mux
}

// publicHandler is what the TCP listener may do: metrics and probes for everybody who can reach it, the API for loopback, nothing that acts.
func publicHandler(node Node, metrics prometheus.Gatherer, log zerolog.Logger) http.Handler {
	api := http.NewServeMux()
	handleReads(api, node)
	for _, act := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		api.HandleFunc(act+" /api/v1/", func(w http.ResponseWriter, _ *http.Request) {
			write(w, http.StatusForbidden, problem{"this door only reads; acts go through the control socket: use the nines command on the machine"})
		})
	}
	mux := http.NewServeMux()
	handleProbes(mux, node, metrics, log)
	mux.Handle("/api/", loopbackOnly(api))
	return mux
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

func handleReads(mux *http.ServeMux, node Node) {
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, node.Status())
	})
	mux.HandleFunc("GET /api/v1/status/endpoints/{name}", func(w http.ResponseWriter, r *http.Request) {
		status := node.Status()
		e, ok := status.Endpoint(r.PathValue("name"))
		if !ok {
			write(w, http.StatusNotFound, problem{noEndpoint(r.PathValue("name"), status.Endpoints)})
			return
		}
		write(w, http.StatusOK, e)
	})
	mux.HandleFunc("GET /api/v1/holds", func(w http.ResponseWriter, r *http.Request) {
		holds, err := node.Holds(r.Context())
		answer(w, holds, err)
	})
	mux.HandleFunc("GET /api/v1/version", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, node.Status().Version)
	})
}

func reload(w http.ResponseWriter, r *http.Request, node Node, log zerolog.Logger) {
	result, err := node.Reload(r.Context())
	if err != nil {
		log.Error().Err(err).Msg("reload was not tried")
		write(w, http.StatusInternalServerError, problem{"reload: " + err.Error()})
		return
	}
	if !result.Accepted {
		write(w, http.StatusUnprocessableEntity, result)
		return
	}
	write(w, http.StatusOK, result)
}

// loopbackOnly refuses the API to other machines: without tokens, whoever reads it must be on this one (PRODUCT §12).
func loopbackOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !peer.Addr().Unmap().IsLoopback() {
			write(w, http.StatusUnauthorized, problem{"the API is read from this machine only, by way of loopback"})
			return
		}
		// A page from elsewhere that had its name resolved to loopback (DNS rebinding) comes with its own name.
		if !isLocalHost(r.Host) {
			write(w, http.StatusUnauthorized, problem{"the API is read under an IP address or as localhost, not as " + r.Host})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isLocalHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	_, err = netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
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
