package delivery_test

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"mixminion/delivery"
)

func TestSTARTTLS(t *testing.T) {
	goodTLS, goodCA := certificate(t, "127.0.0.1")
	otherTLS, otherCA := certificate(t, "other.example.net")
	for _, tt := range []struct {
		name   string
		mode   delivery.TLSMode
		server *tls.Config
		ca     string
		want   delivery.Outcome
		tls    bool
		says   string
	}{
		{"off, offered", delivery.TLSOff, goodTLS, "", ok, false, ""},
		{"opportunistic, offered", delivery.TLSOpportunistic, goodTLS, "", ok, true, ""},
		{"opportunistic, other name", delivery.TLSOpportunistic, otherTLS, "", ok, true, ""},
		{"opportunistic, absent", delivery.TLSOpportunistic, nil, "", ok, false, ""},
		{"required, offered", delivery.TLSRequired, goodTLS, goodCA, ok, true, ""},
		{"required, absent", delivery.TLSRequired, nil, goodCA, unavailable, false, "does not offer STARTTLS"},
		{"required, unknown authority", delivery.TLSRequired, goodTLS, otherCA, unavailable, false, "certificate"},
		{"required, system's authorities", delivery.TLSRequired, goodTLS, "", unavailable, false, "certificate"},
		{"required, other name", delivery.TLSRequired, otherTLS, otherCA, unavailable, false, "certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := startServer(t, tt.server, nil)
			cfg := config(server.addr)
			cfg.TLS, cfg.CAFile, cfg.HelloName = tt.mode, tt.ca, "exit.example.org"
			got, err := deliver(t.Context(), t, newSMTP(t, cfg), batch(t, "a@example.com"))
			wantOutcomes(t, got, tt.want)
			if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("error %v, want %q", err, tt.says)
			}
			mails := server.received()
			if tt.want == ok && (len(mails) != 1 || mails[0].tls != tt.tls) {
				t.Errorf("mails %v, want one, TLS %t", mails, tt.tls)
			}
			for _, name := range server.hellos {
				if name != "exit.example.org" {
					t.Errorf("EHLO %s, want our name", name)
				}
			}
			if n := server.connections(); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
		})
	}
}

func TestBrokenSTARTTLS(t *testing.T) {
	broken := func(c talk) {
		c.hello("STARTTLS")
		c.hear("STARTTLS")
		c.say("220 go")
		_, _ = c.Read(make([]byte, 4096)) // the client's first message
		c.say("no TLS at all")
	}
	refuses := func(c talk) {
		c.hello("STARTTLS")
		c.hear("STARTTLS")
		c.say("454 not now")
		c.ehlo()
		c.upToData()
		c.say("250 ok")
		c.hear("QUIT")
		c.say("221 bye")
	}
	injects := func(c talk) {
		c.hello("STARTTLS")
		c.hear("STARTTLS")
		_, _ = c.Write([]byte("220 go\r\n250 injected\r\n"))
		c.hear("")
	}
	plain := func(c talk) { c.hello(); c.upToData(); c.say("250 ok"); c.hear("QUIT"); c.say("221 bye") }
	for _, tt := range []struct {
		name  string
		mode  delivery.TLSMode
		talks []func(talk)
		want  delivery.Outcome
	}{
		{"opportunistic, broken", delivery.TLSOpportunistic, []func(talk){broken, plain}, ok},
		{"opportunistic, refused", delivery.TLSOpportunistic, []func(talk){refuses}, ok},
		{"opportunistic, injection", delivery.TLSOpportunistic, []func(talk){injects}, unavailable},
		{"required, broken", delivery.TLSRequired, []func(talk){broken}, unavailable},
		{"required, refused", delivery.TLSRequired, []func(talk){func(c talk) {
			c.hello("STARTTLS")
			c.hear("STARTTLS")
			c.say("454 not now")
		}}, unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := startScript(t, tt.talks...)
			cfg := config(server.addr)
			cfg.TLS = tt.mode
			got, err := deliver(t.Context(), t, newSMTP(t, cfg), batch(t, "a@example.com"))
			wantOutcomes(t, got, tt.want)
			if (err == nil) != (tt.want == ok) {
				t.Errorf("error %v", err)
			}
			if server.stop(); server.conns != len(tt.talks) {
				t.Errorf("%d connections, want %d", server.conns, len(tt.talks))
			}
		})
	}
}

func TestImplicitTLS(t *testing.T) {
	serverTLS, ca := certificate(t, "127.0.0.1")
	ln, err := tls.Listen("tcp", "127.0.0.1:0", serverTLS)
	if err != nil {
		t.Fatal(err)
	}
	server := serve(t, ln, nil, nil)
	cfg := config(server.addr)
	cfg.TLS, cfg.CAFile = delivery.TLSImplicit, ca
	got, err := deliver(t.Context(), t, newSMTP(t, cfg), batch(t, "a@example.com", "b@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	wantOutcomes(t, got, ok, ok)
	if n := server.connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	cfg.CAFile = ""
	got, err = deliver(t.Context(), t, newSMTP(t, cfg), batch(t, "a@example.com"))
	wantOutcomes(t, got, unavailable)
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("error %v", err)
	}
}

func TestLogin(t *testing.T) {
	serverTLS, ca := certificate(t, "127.0.0.1")
	for _, tt := range []struct {
		name   string
		offers bool
		pass   delivery.Secret
		says   string
	}{
		{"right", true, "secret", ""},
		{"wrong", true, "guess", "535"},
		{"not offered", false, "secret", "neither PLAIN nor LOGIN"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := startServer(t, serverTLS, func(m *mailServer) {
				if tt.offers {
					m.user, m.pass = "exit", "secret"
				}
			})
			cfg := config(server.addr)
			cfg.TLS, cfg.CAFile, cfg.Username, cfg.Password = delivery.TLSRequired, ca, "exit", tt.pass
			got, err := deliver(t.Context(), t, newSMTP(t, cfg), batch(t, "a@example.com", "b@example.com"))
			if tt.says == "" {
				wantOutcomes(t, got, ok, ok)
				if err != nil {
					t.Error(err)
				}
				if server.auths != 1 || server.connections() != 1 {
					t.Errorf("%d log-ins over %d connections, want 1 over 1", server.auths, server.connections())
				}
				return
			}
			wantOutcomes(t, got, unavailable)
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), string(tt.pass)) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestLoginMethodLOGIN(t *testing.T) {
	server := startScript(t, func(c talk) {
		c.hello("AUTH LOGIN")
		c.hear("AUTH LOGIN ZXhpdA==")
		c.say("334 UGFzc3dvcmQ6")
		c.hear("c2VjcmV0")
		c.say("235 ok")
		c.upToData()
		c.say("250 ok")
		c.hear("QUIT")
		c.say("221 bye")
	})
	cfg := config(server.addr)
	cfg.Username, cfg.Password = "exit", "secret"
	got, err := deliver(t.Context(), t, newSMTP(t, cfg), batch(t, "a@example.com"))
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, ok)
}

// A name that says loopback and leads elsewhere gets no password.
func TestPasswordStaysOnTheMachine(t *testing.T) {
	cfg := config("localhost:25")
	cfg.Username, cfg.Password = "exit", "secret"
	heard := make(chan string, 1)
	cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer func() { _ = server.Close() }()
			c := talk{server, t}
			c.hello("AUTH PLAIN")
			b := make([]byte, 100)
			n, _ := c.Read(b)
			heard <- string(b[:n])
		}()
		return client, nil
	}
	got, err := deliver(t.Context(), t, newSMTP(t, cfg), batch(t, "a@example.com"))
	wantOutcomes(t, got, unavailable)
	if err == nil || !strings.Contains(err.Error(), "password is only sent") {
		t.Errorf("error %v", err)
	}
	if h := <-heard; h != "" {
		t.Errorf("server heard %q", h)
	}
}
