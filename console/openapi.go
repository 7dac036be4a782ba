package console

import (
	_ "embed" // the document
	"net/http"
)

// document is the OpenAPI document of the API. It is made of [routes], the types they take and give, and the comments of those types' fields:
// go test ./console -run TestTheDocument -update
//
//go:embed openapi.json
var document []byte

var documentRoutes = []route{{
	method: http.MethodGet, path: "/api/v1/openapi.json", role: viewer, about: "This document.",
	serve: func(w http.ResponseWriter, _ *ask) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document) // the reader has gone: nobody to tell
	},
}}
