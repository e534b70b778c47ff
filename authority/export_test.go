package authority

// Decompress is what a Fetcher does to documents.
var Decompress = decompress

// Compress makes a document of a text.
var Compress = compress

// MaxDocument bounds a document.
const MaxDocument = maxDocument

// ReportOn gives the report of a day, as it would be logged.
func (a *Authority) ReportOn(day string) *Report {
	for _, r := range a.view.Load().records {
		if r.Day == day {
			return a.reportOn(r, a.view.Load().skews)
		}
	}
	return nil
}
