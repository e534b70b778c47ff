//go:build !unix || openbsd || netbsd

package checkup

import "errors"

func openFiles() (uint64, error) { return 0, errors.ErrUnsupported }
