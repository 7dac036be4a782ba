package configs

import (
	"os"
	"slices"
	"testing"
)

// FuzzParse: whatever the file holds, there is no panic, and either an error that says where or a File that can be run.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"nines.yaml", "small.yaml", "loopback.yaml", "testdata/product.yaml"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, text := range []string{
		base, "", "a", "- a", "a: [", "a: &a [*a]", "<<: {}", "? a", "a: !!x", "a: |\n b", "listen: { a: { on: [udp://1.2.3.4:5, ::1] } }", "\xff", "state: ''\nx: [", "a: b: c",
		"routes: [{ask: [[[a]]], otherwise: [{announce: x, escape: }]}]", "trunks: {a.b: {from: 1}, \"\": }", "media: {ports: 1-65535, address: [[]]}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, problems := Parse("nines.yaml", data, At(today), Loading(noFiles))
		if file == nil {
			t.Fatal("there is no File")
		}
		for _, p := range problems {
			if p.Line < 1 || p.Column < 1 || p.What == "" {
				t.Errorf("a problem does not say where or what: %+v", p)
			}
		}
		if problems.OK() {
			usable(t, file)
		}
	})
}

// usable checks what every room relies on.
func usable(t *testing.T, f *File) {
	t.Helper()
	if len(f.Listeners()) == 0 || len(f.Media.Addresses) == 0 || f.Media.Pairs() == 0 || f.State == "" || f.Run == "" {
		t.Errorf("an accepted file lacks sockets, media or folders: %+v", f)
	}
	if !slices.ContainsFunc(f.Routes, func(r Route) bool { return r.Class == Emergency }) {
		t.Error("an accepted file has no emergency route")
	}
	for _, r := range f.Routes {
		if r.Name == "" || len(r.Numbers) == 0 || len(r.Ask) == 0 || r.Patience <= 0 || r.Progress <= 0 {
			t.Errorf("an accepted route lacks something: %+v", r)
		}
		for _, name := range slices.Concat(r.Ask...) {
			if _, ok := f.Endpoint(name); !ok {
				t.Errorf("route %q asks %q, which is no endpoint", r.Name, name)
			}
		}
		for _, name := range r.Trunks {
			if _, ok := f.Trunk(name); !ok {
				t.Errorf("route %q serves %q, which is no trunk", r.Name, name)
			}
		}
	}
	for _, e := range f.Endpoints {
		if e.URI.Host == "" || e.Reserve > e.Calls {
			t.Errorf("an accepted endpoint lacks something: %+v", e)
		}
	}
	for _, trunk := range f.Trunks {
		if len(trunk.From) == 0 || trunk.GiveUp <= 0 {
			t.Errorf("an accepted trunk lacks something: %+v", trunk)
		}
	}
	if f.Explain() == "" {
		t.Error("an accepted file is not explained")
	}
}
