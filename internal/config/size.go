package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Units of [Size].
const (
	KB Size = 1 << 10
	MB Size = 1 << 20
	GB Size = 1 << 30
)

// maxSize is far above any disk and far below overflow.
const maxSize = 1 << 55

// Size is a number of bytes, written as a number and a unit of powers of
// 1024: "100K", "1.5 MB", "10G", "512 bytes". A number alone means bytes.
type Size int64

func (v *Size) Set(text string) error {
	number, unit := splitNumber(text)
	unit = strings.ToLower(unit)
	var size Size
	switch strings.TrimSuffix(unit, "s") {
	case "", "b", "byte", "octet":
		size = 1
	case "k", "kb":
		size = KB
	case "m", "mb":
		size = MB
	case "g", "gb":
		size = GB
	}
	n, ok := scale(number, int64(size), maxSize)
	if size == 0 || unit == "s" || !ok {
		return fmt.Errorf("%s is not a size; write a number and one of bytes, K, M or G, like 100K or 10G", quote(text))
	}
	*v = Size(n)
	return nil
}

// String uses the largest unit that needs no fraction.
func (v Size) String() string {
	switch {
	case v == 0 || v%KB != 0:
		return plural(strconv.FormatInt(int64(v), 10), "byte")
	case v%GB == 0:
		return strconv.FormatInt(int64(v/GB), 10) + "G"
	case v%MB == 0:
		return strconv.FormatInt(int64(v/MB), 10) + "M"
	}
	return strconv.FormatInt(int64(v/KB), 10) + "K"
}

func (v Size) Kind() string { return "size" }

// Fraction is a number from 0 to 1, written as "40%" or "0.4".
type Fraction float64

func (v *Fraction) Set(text string) error {
	number, percent := strings.CutSuffix(text, "%")
	if percent {
		number = strings.TrimRight(number, " ")
	}
	f, err := strconv.ParseFloat(number, 64)
	if percent {
		f /= 100
	}
	if digits, rest := splitNumber(number); err != nil || digits == "" || rest != "" || !(f >= 0 && f <= 1) {
		return fmt.Errorf("%s is not a fraction; write a percentage like 40%% or a number from 0 to 1", quote(text))
	}
	*v = Fraction(f)
	return nil
}

func (v Fraction) String() string {
	percent := strconv.FormatFloat(math.Round(float64(v)*1e6)/1e4, 'f', -1, 64) + "%"
	var back Fraction
	if back.Set(percent) == nil && back == v {
		return percent
	}
	return strconv.FormatFloat(float64(v), 'f', -1, 64)
}

func (v Fraction) Kind() string { return "fraction" }
