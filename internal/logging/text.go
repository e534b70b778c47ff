package logging

import (
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// timeForm is how lines of text begin.
const timeForm = "Jan 02 15:04:05.000 -0700"

// appendHead appends all of a line before its attributes.
func appendHead(line []byte, r slog.Record) []byte {
	line = r.Time.AppendFormat(line, timeForm)
	line = append(line, " ["...)
	line = append(line, levelName(r.Level)...)
	line = append(line, "] "...)
	if plain(r.Message) {
		return append(line, r.Message...)
	}
	return strconv.AppendQuoteToGraphic(line, r.Message)
}

// appendAttr appends one redacted attribute; group is the prefix of its key.
func appendAttr(line []byte, group string, a slog.Attr) []byte {
	if a.Value.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, member := range a.Value.Group() {
			line = appendAttr(line, group, member)
		}
		return line
	}
	if a.Equal(slog.Attr{}) {
		return line
	}
	line = append(line, ' ')
	line = append(line, group...)
	line = append(line, a.Key...)
	line = append(line, '=')
	text := a.Value.String()
	if a.Value.Kind() == slog.KindTime {
		text = a.Value.Time().Format(time.RFC3339)
	}
	if text != "" && plain(text) && !strings.ContainsAny(text, " =\"") {
		return append(line, text...)
	}
	return strconv.AppendQuoteToGraphic(line, text)
}

// plain reports whether a text can stand in a line as it is. What comes from outside must not begin a line of its own.
func plain(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsGraphic(r) })
}
