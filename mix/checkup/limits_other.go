//go:build !unix || openbsd || netbsd

package checkup

import "errors"

func freeBytes(string) (int64, error) { return 0, errors.ErrUnsupported }
func openFiles() (uint64, error)      { return 0, errors.ErrUnsupported }
