package client_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"mixminion/client"
	"mixminion/message"
)

// A program that reads mail gives all of it to Decode; what is not an anonymous message is passed over.
func ExampleClient_Decode() {
	home, err := os.MkdirTemp("", "mixminion-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		if err := os.RemoveAll(home); err != nil {
			log.Print(err)
		}
	}()
	c, err := client.Open(home, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	mail := `From: nobody@exit.example.org
Subject: Type III Anonymous Message

-----BEGIN TYPE III ANONYMOUS MESSAGE-----
Message-type: plaintext

Hello over the network.
-----END TYPE III ANONYMOUS MESSAGE-----
`
	options := client.DecodeOptions{
		Keys: func() (message.Keys, error) { // asks for the passphrase when an answer is found
			ring, err := c.Keyring([]byte("passphrase"))
			if err != nil {
				return message.Keys{}, err
			}
			return c.Keys(ring), nil
		},
	}
	for m, err := range c.Decode(context.Background(), strings.NewReader(mail), options) {
		switch {
		case err != nil:
			fmt.Println(m.Position, err)
		case m.Fragment != nil:
			fmt.Println("fragment of", m.Fragment.ShortID())
		default:
			fmt.Printf("%s: %s", m.Position, m.Body)
		}
	}
	// Output: message 1: Hello over the network.
}
