package delivery_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"

	"mixminion/delivery"
	"mixminion/packet"
)

func setHash(p *packet.Payload) {
	sum := sha1.Sum(p[22:])
	copy(p[2:], sum[:])
}

// A server that does not take our mail at all is no reason to lose any: everything is kept and the batch ends at once.
func TestServerThatDoesNotWantUs(t *testing.T) {
	for _, tt := range []struct {
		name string
		talk func(talk)
		says string // in the error
	}{
		{"greeting 554", func(c talk) { c.say("554 no service for you") }, "no service for you"},
		{"greeting 421", func(c talk) { c.say("421 too busy") }, "421"},
		{"greeting of another protocol", func(c talk) { c.say("+OK POP3 ready") }, "EHLO"},
		{"no greeting", func(talk) {}, "EOF"},
		{"EHLO refused", func(c talk) { c.say("220 hi"); c.hear("EHLO "); c.say("550 bad name") }, "bad name"},
		{"EHLO deferred", func(c talk) { c.say("220 hi"); c.hear("EHLO "); c.say("450 later") }, "later"},
		{"endless greeting", func(c talk) {
			line := strings.Repeat("220-"+strings.Repeat("x", 500)+"\r\n", 100)
			for range 20 {
				c.say(line)
			}
		}, "more than an answer"},
		{"sender refused", func(c talk) { c.hello(); c.hear("MAIL FROM:"); c.say("550 sender unknown") }, "sender unknown"},
		{"log-in missing", func(c talk) { c.hello(); c.hear("MAIL FROM:"); c.say("530 log in") }, "log in"},
		{"log-in missing at RCPT", func(c talk) {
			c.hello()
			c.hear("MAIL FROM:")
			c.say("250 ok")
			c.hear("RCPT TO:")
			c.say("530 a@example.com needs a log-in")
		}, "530"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := startScript(t, tt.talk)
			got, err := deliver(t, t.Context(), newSMTP(t, config(server.addr)), batch(t, "a@example.com", "b@example.com"))
			wantOutcomes(t, got, unavailable)
			if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), server.addr) {
				t.Errorf("error %q does not name the server and %q", err, tt.says)
			}
			if server.stop(); server.conns != 1 {
				t.Errorf("%d connections, want 1", server.conns)
			}
		})
	}
}

func TestServerThatIsDown(t *testing.T) {
	server := startScript(t)
	server.stop()
	got, err := deliver(t, t.Context(), newSMTP(t, config(server.addr)), batch(t, "a@example.com", "b@example.com"))
	wantOutcomes(t, got, unavailable)
	if err == nil || !strings.Contains(err.Error(), "connecting") {
		t.Errorf("error %v", err)
	}
}

// Nothing waits for a server longer than told, whatever it is that does not come. The clock of these tests is not the real one.
func TestSilentServer(t *testing.T) {
	hang := func(c talk) {
		for b := make([]byte, 4096); ; {
			if _, err := c.Read(b); err != nil {
				return
			}
		}
	}
	toData := func(c talk) {
		c.hello()
		for _, step := range []struct{ hear, say string }{{"MAIL", "250 ok"}, {"RCPT", "250 ok"}, {"DATA", "354 go"}} {
			c.hear(step.hear)
			c.say(step.say)
		}
	}
	const timeout = delivery.DefaultTimeout
	for _, tt := range []struct {
		name  string
		mode  delivery.TLSMode
		talk  func(talk)
		want  delivery.Outcome
		fatal bool
		after time.Duration
	}{
		{"no greeting", delivery.TLSOff, hang, unavailable, true, timeout},
		{"no greeting, TLS", delivery.TLSImplicit, hang, unavailable, true, timeout},
		{"no greeting, STARTTLS", delivery.TLSOpportunistic, hang, unavailable, true, timeout},
		{"no handshake", delivery.TLSRequired, func(c talk) {
			c.hello("STARTTLS")
			c.hear("STARTTLS")
			c.say("220 go")
			hang(c)
		}, unavailable, true, timeout},
		{"no answer to MAIL", delivery.TLSOff, func(c talk) { c.hello(); hang(c) }, unavailable, false, timeout},
		{"no answer to the mail", delivery.TLSOff, func(c talk) { c.hello(); c.upToData(); hang(c) }, unsure, false, 2 * timeout},
		// A pipe has no buffer: a server that does not read stops the client in the middle of the mail.
		{"no reading of the mail", delivery.TLSOff, func(c talk) {
			toData(c)
			c.hear("To: ")
			time.Sleep(2 * timeout)
		}, unavailable, false, timeout},
		{"one byte of greeting a minute", delivery.TLSOff, func(c talk) {
			for {
				time.Sleep(time.Minute)
				if _, err := c.Write([]byte("2")); err != nil {
					return
				}
			}
		}, unavailable, true, timeout},
		{"no answer to QUIT", delivery.TLSOff, func(c talk) {
			c.hello()
			c.upToData()
			c.say("250 ok")
			hang(c)
		}, ok, false, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := config("localhost")
				cfg.TLS, cfg.Timeout = tt.mode, 0
				gone := make(chan struct{})
				cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
					client, server := net.Pipe()
					go func() {
						defer close(gone)
						defer func() { _ = server.Close() }()
						tt.talk(talk{server, t})
					}()
					return client, nil
				}
				begin := time.Now()
				got, err := deliver(t, t.Context(), newSMTP(t, cfg), []delivery.Item{item(t, 1, "a@example.com", randomText(20<<10))})
				wantOutcomes(t, got, tt.want)
				if (err != nil) != tt.fatal {
					t.Errorf("error %v, want one: %t", err, tt.fatal)
				}
				if d := time.Since(begin); d != tt.after {
					t.Errorf("it took %v, want %v", d, tt.after)
				}
				<-gone
			})
		})
	}
}

func TestServerHangsUp(t *testing.T) {
	whole := func(c talk) { c.hello(); c.upToData(); c.say("250 ok"); c.hear("QUIT"); c.say("221 bye") }
	afterOne := func(then func(talk)) func(talk) {
		return func(c talk) { c.hello(); c.upToData(); c.say("250 ok"); then(c) }
	}
	for _, tt := range []struct {
		name  string
		talks []func(talk)
		want  []delivery.Outcome
		fatal bool
	}{
		{"between mails", []func(talk){afterOne(func(talk) {}), whole}, []delivery.Outcome{ok, ok}, false},
		{"421 between mails", []func(talk){afterOne(func(c talk) { c.hear("MAIL"); c.say("421 enough") }), whole},
			[]delivery.Outcome{ok, ok}, false},
		{"421 at RCPT", []func(talk){afterOne(func(c talk) {
			c.hear("MAIL")
			c.say("250 ok")
			c.hear("RCPT")
			c.say("421 enough")
		}), whole}, []delivery.Outcome{ok, ok}, false},
		{"421 after the mail", []func(talk){afterOne(func(c talk) { c.upToData(); c.say("421 enough") }), whole},
			[]delivery.Outcome{ok, ok}, false},
		{"instead of the answer", []func(talk){afterOne(func(c talk) { c.upToData() })}, []delivery.Outcome{ok, unsure}, false},
		{"instead of the first answer", []func(talk){func(c talk) { c.hello(); c.upToData() }, whole},
			[]delivery.Outcome{unsure, ok}, false},
		{"on a new connection", []func(talk){func(c talk) { c.hello(); c.hear("MAIL") }, whole},
			[]delivery.Outcome{unavailable, ok}, false},
		{"again and again", []func(talk){afterOne(func(talk) {}), func(talk) {}}, []delivery.Outcome{ok, unavailable}, true},
		{"too often", []func(talk){
			func(c talk) { c.hello(); c.hear("MAIL") },
			func(c talk) { c.hello(); c.upToData() },
			func(c talk) { c.hello(); c.hear("MAIL"); c.say("451 later") },
			whole,
		}, []delivery.Outcome{unavailable, unsure, unavailable}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := startScript(t, tt.talks...)
			items := batch(t, "a@example.com", "b@example.com", "c@example.com", "d@example.com")
			n := len(tt.want)
			if tt.fatal {
				n++ // one that must not be pulled
			}
			got, err := deliver(t, t.Context(), newSMTP(t, config(server.addr)), items[:n])
			wantOutcomes(t, got, tt.want...)
			if (err != nil) != tt.fatal {
				t.Errorf("error %v, want one: %t", err, tt.fatal)
			}
		})
	}
}

func TestServersWordsEndWhereRecipientsBegin(t *testing.T) {
	count := 0
	server := startServer(t, nil, func(m *mailServer) {
		m.onMail = func(string) error {
			if count++; count == 2 {
				return smtpError(550, "you wrote to a@example.com")
			}
			return nil
		}
	})
	got, err := deliver(t, t.Context(), newSMTP(t, config(server.addr)), batch(t, "a@example.com", "b@example.com"))
	wantOutcomes(t, got, ok, unavailable)
	if err == nil || !strings.Contains(err.Error(), "550 5.0.0") || strings.Contains(err.Error(), "wrote") {
		t.Errorf("error %v", err)
	}
}

// A server that has never taken a mail and refuses by policy may just not know us. Nothing is lost for that.
func TestPolicyIsBelievedFromAProvenServer(t *testing.T) {
	server := startServer(t, nil, func(m *mailServer) {
		m.onRcpt = func(to string) error {
			if to == "b@example.com" {
				return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "b@example.com: relay access denied"}
			}
			return nil
		}
	})
	var log bytes.Buffer
	cfg := config(server.addr)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	x := newSMTP(t, cfg)
	got, err := deliver(t, t.Context(), x, batch(t, "b@example.com", "b@example.com", "a@example.com", "b@example.com"))
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, unavailable, unavailable, ok, refused)
	if got, err = deliver(t, t.Context(), x, batch(t, "b@example.com")); err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, refused)
	if text := log.String(); strings.Count(text, "does it relay") != 1 || strings.Contains(text, "example.com") {
		t.Errorf("log:\n%s", text)
	}
}

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
			got, err := deliver(t, t.Context(), newSMTP(t, cfg), batch(t, "a@example.com"))
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
			got, err := deliver(t, t.Context(), newSMTP(t, cfg), batch(t, "a@example.com"))
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
	got, err := deliver(t, t.Context(), newSMTP(t, cfg), batch(t, "a@example.com", "b@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	wantOutcomes(t, got, ok, ok)
	if n := server.connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	cfg.CAFile = ""
	got, err = deliver(t, t.Context(), newSMTP(t, cfg), batch(t, "a@example.com"))
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
			got, err := deliver(t, t.Context(), newSMTP(t, cfg), batch(t, "a@example.com", "b@example.com"))
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
	got, err := deliver(t, t.Context(), newSMTP(t, cfg), batch(t, "a@example.com"))
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
	got, err := deliver(t, t.Context(), newSMTP(t, cfg), batch(t, "a@example.com"))
	wantOutcomes(t, got, unavailable)
	if err == nil || !strings.Contains(err.Error(), "password is only sent") {
		t.Errorf("error %v", err)
	}
	if h := <-heard; h != "" {
		t.Errorf("server heard %q", h)
	}
}
