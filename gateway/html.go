package gateway

import (
	"html"
	"slices"
	"strings"
)

// What tags mean for text: those behind which a line ends, and those of which nothing is to be read.
var (
	htmlLines  = []string{"br", "p", "div", "li", "tr", "pre", "blockquote", "table", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "body"}
	htmlHidden = []string{"head", "style", "script", "title"}
)

// fromHTML returns the text of a page, for people whose mail programs write nothing else. Marks are left out, in time linear in the page.
func fromHTML(page string) string {
	page = strings.ToValidUTF8(page, "?")
	lower := strings.Map(func(c rune) rune { // ToLower could change the number of bytes
		if c >= 'A' && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, page)
	var out strings.Builder
	pre := 0
	write := func(text string) {
		if pre == 0 {
			text = strings.NewReplacer("\r", "", "\n", " ").Replace(text)
		}
		out.WriteString(text)
	}
	for at := 0; at < len(page); {
		start := strings.IndexByte(page[at:], '<')
		if start < 0 {
			write(page[at:])
			break
		}
		write(page[at : at+start])
		at += start
		if !beginsMark(page[at:]) {
			write("<")
			at++
			continue
		}
		end := ">"
		if strings.HasPrefix(page[at:], "<!--") {
			end = "-->"
		}
		length := strings.Index(page[at:], end)
		if length < 0 {
			write(page[at:]) // nothing that was written is lost
			break
		}
		name := lower[at+1 : at+length]
		if i := strings.IndexAny(name, " \t\r\n"); i >= 0 {
			name = name[:i]
		}
		at += length + len(end)
		name, closes := strings.CutPrefix(strings.TrimRight(name, "/"), "/")
		switch {
		case slices.Contains(htmlHidden, name) && !closes:
			length := strings.Index(lower[at:], "</"+name)
			if length < 0 {
				length = len(page) - at
			}
			at += length
		case slices.Contains(htmlLines, name):
			if closes || name == "br" || name == "hr" || !strings.HasSuffix(out.String(), "\n") {
				out.WriteByte('\n')
			}
		}
		if name == "pre" && closes {
			pre = max(0, pre-1)
		} else if name == "pre" {
			pre++
		}
	}
	return strings.ReplaceAll(html.UnescapeString(out.String()), "\u00A0", " ")
}

// beginsMark tells a tag, a comment or the like from a mere sign for "less than".
func beginsMark(page string) bool {
	if len(page) < 2 {
		return false
	}
	c := page[1]
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("/!?", c) >= 0
}
