package delivery_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mixminion/delivery"
)

func TestSMTPConfig(t *testing.T) {
	noCA := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(noCA, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*delivery.SMTPConfig)
		says   string // "" accepts
	}{
		{"host alone", func(c *delivery.SMTPConfig) { c.Servers = []string{"smart.example.net"} }, ""},
		{"IPv6 address", func(c *delivery.SMTPConfig) { c.Servers = []string{"[::1]:25"} }, ""},
		{"IPv6 address alone", func(c *delivery.SMTPConfig) { c.Servers = []string{"::1"} }, ""},
		{"no server", func(c *delivery.SMTPConfig) { c.Servers = nil }, "no mail server"},
		{"port alone", func(c *delivery.SMTPConfig) { c.Servers = []string{":25"} }, "host:port"},
		{"no port", func(c *delivery.SMTPConfig) { c.Servers = []string{"smart.example.net:"} }, "host:port"},
		{"impossible port", func(c *delivery.SMTPConfig) { c.Servers = []string{"smart.example.net:70000"} }, "host:port"},
		{"URL", func(c *delivery.SMTPConfig) { c.Servers = []string{"smtp://smart.example.net"} }, "host:port"},
		{"TLS mode", func(c *delivery.SMTPConfig) { c.TLS = 77 }, "TLS mode"},
		{"no file", func(c *delivery.SMTPConfig) { c.CAFile = noCA + "x" }, "certificates"},
		{"no certificate", func(c *delivery.SMTPConfig) { c.CAFile = noCA }, "holds none"},
		{"EHLO", func(c *delivery.SMTPConfig) { c.HelloName = "exit\r\nMAIL" }, "EHLO"},
		{"user alone", func(c *delivery.SMTPConfig) { c.Username = "exit" }, "go together"},
		{"password alone", func(c *delivery.SMTPConfig) { c.Password = "secret" }, "go together"},
		{"password in the clear", func(c *delivery.SMTPConfig) {
			c.Servers, c.Username, c.Password = []string{"smart.example.net"}, "exit", "secret"
		}, "password is only sent"},
		{"password to anybody", func(c *delivery.SMTPConfig) {
			c.Servers, c.Username, c.Password, c.TLS = []string{"smart.example.net"}, "exit", "secret", delivery.TLSOpportunistic
		}, "password is only sent"},
		{"password on loopback", func(c *delivery.SMTPConfig) {
			c.Servers, c.Username, c.Password = []string{"[::1]:25"}, "exit", "secret"
		}, ""},
		{"password over TLS", func(c *delivery.SMTPConfig) {
			c.Servers, c.Username, c.Password, c.TLS = []string{"smart.example.net"}, "exit", "secret", delivery.TLSRequired
		}, ""},
		{"size", func(c *delivery.SMTPConfig) { c.MaximumSize = -1 }, "maximum size"},
		{"form", func(c *delivery.SMTPConfig) { c.Mail.ReturnAddress = "nobody" }, "return address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config("127.0.0.1:25")
			tt.change(&cfg)
			_, err := delivery.NewSMTP(cfg)
			if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("error %v, want %q", err, tt.says)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("error shows the password: %v", err)
			}
		})
	}
}

func TestSecretDoesNotPrint(t *testing.T) {
	cfg := delivery.SMTPConfig{TransportConfig: delivery.TransportConfig{Password: "open sesame"}}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		if s := fmt.Sprintf(format, cfg); strings.Contains(s, "sesame") || strings.Contains(s, "736573616d65") {
			t.Errorf("%s shows %s", format, s)
		}
	}
}

func TestTLSModes(t *testing.T) {
	for _, m := range []delivery.TLSMode{
		delivery.TLSOpportunistic, delivery.TLSRequired, delivery.TLSImplicit, delivery.TLSOff,
	} {
		if got, err := delivery.ParseTLSMode(strings.ToUpper(m.String())); err != nil || got != m {
			t.Errorf("%v reads as %v, %v", m, got, err)
		}
	}
	if _, err := delivery.ParseTLSMode("maybe"); err == nil {
		t.Error("maybe is accepted")
	}
}
