package authority

// Decompress is what a Fetcher does to documents.
var Decompress = decompress

// Compress makes a document of a text.
var Compress = compress

// MaxDocument bounds a document.
const MaxDocument = maxDocument
