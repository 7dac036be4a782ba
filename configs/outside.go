package configs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"time"
)

// outside looks at the files that the file names. What is wrong with them disables a part and never refuses the whole (R2).
type outside struct {
	*reader
	f    *File
	now  time.Time
	load func(path string) ([]byte, error)
}

func (o *outside) check() {
	o.certificate()
	o.clientCA()
	for _, a := range o.f.Announcements {
		o.announcement(a)
	}
	for i, n := range o.f.Notify {
		o.notification(at("notify", i), n)
	}
	if o.has("console.tokens_file") && o.f.Console.TokensFile != "" {
		if _, err := o.load(o.f.Console.TokensFile); err != nil {
			o.doubtful("console.tokens_file", "nobody can act in the console: "+err.Error(), "put the file there")
		}
	}
}

func (o *outside) certificate() {
	t := o.f.TLS
	switch {
	case t.Certificate == "" && t.Key == "":
		for i, s := range o.f.Listeners() {
			if s.Transport == TLSOverTCP {
				path := at("listen", i)
				if len(o.f.Sides) > 0 {
					path = "listen"
				}
				o.doubtful(path, "nobody can connect by TLS: there is no certificate", "write tls: { certificate: tls.pem, key: tls.key }")
				return
			}
		}
		return
	case t.Certificate == "" || t.Key == "":
		o.wrong("tls", "certificate and key go together", "write both")
		return
	}
	certificate, err := o.load(t.Certificate)
	if err != nil {
		o.doubtful("tls.certificate", "nobody can connect by TLS: "+err.Error(), "put the file there")
		return
	}
	key, err := o.load(t.Key)
	if err != nil {
		o.doubtful("tls.key", "nobody can connect by TLS: "+err.Error(), "put the file there")
		return
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		o.doubtful("tls.certificate", "nobody can connect by TLS: "+err.Error(), "use a certificate and its key in PEM")
		return
	}
	leaf := pair.Leaf
	switch {
	case leaf == nil:
	case o.now.After(leaf.NotAfter):
		o.doubtful("tls.certificate", "the certificate expired on "+leaf.NotAfter.UTC().Format(time.DateOnly), "renew it; calls are taken meanwhile")
	case o.now.Before(leaf.NotBefore):
		o.doubtful("tls.certificate", "the certificate is valid from "+leaf.NotBefore.UTC().Format(time.DateOnly)+" only", "check the clock, or the certificate")
	case o.now.Add(30 * day).After(leaf.NotAfter):
		o.doubtful("tls.certificate", "the certificate expires on "+leaf.NotAfter.UTC().Format(time.DateOnly), "renew it")
	}
}

func (o *outside) clientCA() {
	if o.f.TLS.ClientCA == "" {
		return
	}
	pem, err := o.load(o.f.TLS.ClientCA)
	if err != nil {
		o.doubtful("tls.client_ca", "partners' certificates are not checked: "+err.Error(), "put the file there")
		return
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		o.doubtful("tls.client_ca", "partners' certificates are not checked: there is none in the file", "use certificates in PEM")
	}
}

// notification looks at the secrets and certificates of a way to tell somebody. They are read again whenever something is told.
func (o *outside) notification(path string, n Notification) {
	for _, file := range []struct{ key, name, what string }{
		{"secret_file", n.SecretFile, "no notice leaves here, because it cannot be signed"},
		{"auth_file", n.AuthFile, "no notice leaves here, because nobody can log in"},
		{"ca", n.CA, "no notice leaves here, because nobody's certificate is known"},
	} {
		if file.name == "" {
			continue
		}
		text, err := o.load(file.name)
		switch {
		case err != nil:
			o.doubtful(path+"."+file.key, file.what+": "+err.Error(), "put the file there")
		case file.key == "ca" && !x509.NewCertPool().AppendCertsFromPEM(text):
			o.doubtful(path+".ca", file.what+": there is none in the file", "use certificates in PEM")
		}
	}
}

func (o *outside) announcement(a Announcement) {
	path := "announcements." + a.Name
	instead := "the built-in text is played instead"
	if !isBuiltIn(a.Name) {
		instead = builtIn[0] + " is played instead"
	}
	for i, name := range a.Files {
		place := at(path+".files", i)
		if !o.has(place) {
			place = path + ".files"
		}
		data, err := o.load(name)
		switch {
		case err != nil:
			o.doubtful(place, fmt.Sprintf("%s: %s", instead, err), "put the file there")
		case len(data) < 12 || !strings.HasPrefix(string(data), "RIFF") || string(data[8:12]) != "WAVE":
			o.doubtful(place, instead+": this is no WAV file", "use a WAV file")
		}
	}
	if !a.Expires.IsZero() && !o.now.Before(a.Expires) {
		o.doubtful(path+".expires", "the text is out of date since "+a.Expires.Format(time.DateOnly), "renew it; "+instead)
	}
}
