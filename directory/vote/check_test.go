package vote

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mixminion/directory"
	"mixminion/internal/crypt"
)

func TestCheckVote(t *testing.T) {
	w := newWorld(t, 3)
	list := descriptors{w.plain(0, "alpha"), w.plain(1, "bravo")}
	good := w.text(0, list, nil)
	body := w.parse(good).Body()
	sign := func(body []byte, authorities ...int) []byte {
		signers := w.keys[:0:0]
		for _, a := range authorities {
			signers = append(signers, w.keys[a])
		}
		text, err := directory.SignDirectory(body, signers...)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	edit := func(body []byte, find, replace string) []byte {
		re := regexp.MustCompile("(?m)" + find)
		if !re.Match(body) {
			t.Fatalf("no %q in the vote", find)
		}
		return []byte(re.ReplaceAllString(string(body), replace))
	}
	otherGroup := w.group[:2]
	stranger, err := directory.SignDirectory(body, w.servers[0])
	if err != nil {
		t.Fatal(err)
	}
	weak, err := crypt.GenerateKey(1024)
	if err != nil {
		t.Fatal(err)
	}
	weakSignature, err := crypt.Sign(weak, crypt.Hash(body))
	if err != nil {
		t.Fatal(err)
	}
	weakSection := fmt.Sprintf("[Signed-Directory]\nDirectory-Identity: %s\nDirectory-Digest: %s\nDirectory-Signature: %s\n",
		base64.StdEncoding.EncodeToString(crypt.EncodePublicKey(&weak.PublicKey)),
		strings.TrimPrefix(line(good, "Directory-Digest"), "Directory-Digest: "), base64.StdEncoding.EncodeToString(weakSignature))
	for name, c := range map[string]struct {
		text []byte
		want error
	}{
		"good":                       {good, nil},
		"several URLs of one member": {w.text(0, list, func(i *directory.Info) { i.Voters = append(slices.Clone(i.Voters), i.Voters...) }), nil},
		"nothing":                    {nil, ErrFormat},
		"format 0.2":                 {[]byte("[Directory]\nVersion: 0.2\n"), ErrFormat},
		"version 0.4":                {sign(edit(body, `^Version: 0.3`, "Version: 0.4"), 0), ErrFormat},
		"consensus":                  {w.text(0, list, func(i *directory.Info) { i.Status = directory.Consensus }), ErrStatus},
		"yesterday's":                {w.text(0, list, func(i *directory.Info) { i.ValidAfter, i.ValidUntil = day(-1), day(0) }), ErrDay},
		"tomorrow's":                 {w.text(0, list, func(i *directory.Info) { i.ValidAfter, i.ValidUntil = day(1), day(2) }), ErrDay},
		"smaller group":              {w.text(0, list, func(i *directory.Info) { i.Voters = otherGroup }), ErrGroup},
		"other URL": {w.text(0, list, func(i *directory.Info) {
			i.Voters = append([]directory.Voter{{Fingerprint: i.Voters[0].Fingerprint, URL: "http://other.example/"}}, i.Voters[1:]...)
		}), ErrGroup},
		"unsigned":                     {sign(body), ErrSigner},
		"signed by two":                {sign(body, 0, 1), ErrSigner},
		"signed by a stranger":         {stranger, ErrSigner},
		"signature of another":         {bytes.Replace(good, []byte(line(good, "Directory-Signature")), []byte(line(sign(body, 1), "Directory-Signature")), 1), ErrSigner},
		"changed":                      {edit(good, `^Recommended-Servers:.*`, "Recommended-Servers: bravo"), ErrSigner},
		"weak key beside a good one":   {append([]byte(weakSection), good...), ErrFormat},
		"weak key only":                {append([]byte(weakSection), body...), ErrFormat},
		"descriptor that we skip":      {sign(edit(body, `^Nickname: bravo`, "Nickname: br_vo"), 0), ErrFormat},
		"descriptor with a wrong hash": {sign(edit(body, `^Hostname: bravo`, "Hostname: brave"), 0), ErrFormat},
		"descriptors unsorted":         {sign(append(edit(body, `(?s)^\[Server\].*\z`, ""), slices.Concat(list[1].Text(), list[0].Text())...), 0), ErrFormat},
	} {
		d, err := CheckVote(&w.cache, c.text, day(0), w.group)
		if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) || (d == nil) != (err != nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if err != nil && !errors.Is(err, ErrVote) {
			t.Errorf("%s: %v is no ErrVote", name, err)
		}
		if d2, err2 := CheckVote(nil, c.text, day(0), w.group); (d2 == nil) != (d == nil) || (err2 == nil) != (err == nil) {
			t.Errorf("%s: differs without a cache: %v", name, err2)
		}
	}
	if _, err := CheckVote(nil, good, day(0), nil); !errors.Is(err, ErrGroup) {
		t.Error("no group:", err)
	}
}

func line(text []byte, key string) string {
	return regexp.MustCompile(`(?m)^` + key + `: .*$`).FindString(string(text))
}

func TestCheckRefusesCorruptDescriptors(t *testing.T) {
	w := newWorld(t, 3)
	d := w.vote(0, descriptors{w.plain(0, "alpha")}, nil)
	d.Servers[0].Notes = []directory.Note{{Line: 3, Msg: "unknown key"}}
	if err := Check(d, day(0), w.group); err != nil {
		t.Error(err)
	}
	d.Servers[0].Notes[0].Corrupt = true
	if err := Check(d, day(0), w.group); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}
