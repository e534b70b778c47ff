package config

import "testing"

func TestStoreKey(t *testing.T) {
	for text, want := range map[string]StoreKey{
		"none":                    {From: StoreKeyNone},
		"Passphrase":              {From: StoreKeyPassphrase},
		"file /media/usb/mix key": {StoreKeyFile, "/media/usb/mix key"},
		"credential  mixminion":   {StoreKeyCredential, "mixminion"},
	} {
		var got, again StoreKey
		if err := got.Set(text); err != nil || got != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
		if err := again.Set(got.String()); err != nil || again != got {
			t.Errorf("%q came back as %v, %v", got.String(), again, err)
		}
	}
	for _, text := range []string{"", "file", "credential", "credential a/b", "credential ..", "none x", "passphrase secret", "/key"} {
		if err := new(StoreKey).Set(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestStoreKeyInside(t *testing.T) {
	for name, want := range map[string]bool{
		"store.key": true, "/srv/mix/x/store.key": true, "../store.key": false, "/media/usb/key": false, "~/key": false,
	} {
		if got := (&StoreKey{StoreKeyFile, name}).inside("/srv/mix"); got != want {
			t.Errorf("%s inside: %v", name, got)
		}
	}
}
