//go:build openssl && cgo

package libcrypto

/*
#cgo pkg-config: libcrypto
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

static EVP_PKEY *mm_load(const unsigned char *der, long len) {
	EVP_PKEY *key = d2i_PrivateKey(EVP_PKEY_RSA, NULL, &der, len);
	ERR_clear_error();
	return key;
}

// mm_decrypt writes at most *outlen bytes and returns 1 if the padding was right.
static int mm_decrypt(EVP_PKEY *key, const void *label, int labellen, unsigned char *out, size_t *outlen,
                      const unsigned char *in, size_t inlen) {
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	void *copy = OPENSSL_memdup(label, labellen);
	int ok = ctx != NULL && copy != NULL
		&& EVP_PKEY_decrypt_init(ctx) > 0
		&& EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) > 0
		&& EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha1()) > 0
		&& EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha1()) > 0;
	if (ok && EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, copy, labellen) > 0) {
		copy = NULL; // ctx owns it now
		ok = EVP_PKEY_decrypt(ctx, out, outlen, in, inlen) > 0;
	} else {
		ok = 0;
	}
	OPENSSL_free(copy);
	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error();
	return ok;
}
*/
import "C"

import (
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"runtime"
	"unsafe"

	"mixminion/internal/crypt"
)

// Provider makes Decrypters that use libcrypto.
type Provider struct{}

// Decrypter implements crypt.Provider. Errors match crypt.ErrKey.
func (Provider) Decrypter(key *rsa.PrivateKey) (crypt.Decrypter, error) {
	if err := key.Validate(); err != nil {
		return nil, fmt.Errorf("%w: inconsistent private key", crypt.ErrKey)
	}
	der := x509.MarshalPKCS1PrivateKey(key)
	defer clear(der)
	k := C.mm_load((*C.uchar)(unsafe.Pointer(&der[0])), C.long(len(der)))
	if k == nil {
		return nil, fmt.Errorf("%w: libcrypto does not accept it", crypt.ErrKey)
	}
	d := &decrypter{key: k, size: key.Size()}
	runtime.AddCleanup(d, func(k *C.EVP_PKEY) { C.EVP_PKEY_free(k) }, k)
	return d, nil
}

type decrypter struct {
	key  *C.EVP_PKEY
	size int // of the modulus, in bytes
}

var label = []byte(crypt.OAEPLabel)

// DecryptPK implements crypt.Decrypter.
func (d *decrypter) DecryptPK(ciphertext []byte) ([]byte, error) {
	if len(ciphertext) != d.size {
		return nil, crypt.ErrDecryption
	}
	out := make([]byte, d.size)
	n := C.size_t(len(out))
	ok := C.mm_decrypt(d.key, unsafe.Pointer(&label[0]), C.int(len(label)), (*C.uchar)(unsafe.Pointer(&out[0])), &n,
		(*C.uchar)(unsafe.Pointer(&ciphertext[0])), C.size_t(len(ciphertext)))
	runtime.KeepAlive(d)
	if ok != 1 || n == 0 {
		clear(out)
		return nil, crypt.ErrDecryption
	}
	return out[:n], nil
}
