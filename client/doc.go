// Package client is what a program needs to send and read anonymous mail: a home directory with the servers it knows and its keys, and
// the steps from a message to packets on their way. The commands of mixminion are a thin layer over it, and other programs may use
// it in the same way. The examples show whole exchanges; they run against a network of mixes on loopback.
//
// # Sending
//
// A [Message] goes to an [Address], which [ParseAddress] reads. [Client.Prepare] makes packets of it, and [Client.PrepareAll] of several
// at once, for several recipients ([Recipients], [Share]). They say where they will go and what is unwise about it, and nothing has left.
// Then either [Client.Enqueue] writes them to the queue, which survives crashes, and [Client.Flush] sends what is there; or
// [Client.Deliver] sends them without a trace on the disk. Done means that the first server of each path has a packet: what becomes of it
// then nobody learns. A program that shall not show when its user writes gives messages to an agent, see [DialAgent].
//
// # Answers
//
// Who shall be able to answer an anonymous message gets reply blocks. [Client.SURBKey] picks a secret from the keyring
// ([Client.Keyring]) and [Client.GenerateSURBs] makes blocks of it. The other side reads them with [ReadSURBs], chooses with
// [Client.UsableSURBs], and answers with [Client.PrepareReply], which marks them as used, for ever, before it returns.
//
// # Reading
//
// [Client.Decode] and [Client.DecodePath] find messages in texts and mails, and open them with the user's keys: those of the keyring for
// answers ([Client.Keys]), and those of [Client.OpenUserKeys] for messages that were encrypted to the public half of one
// (Message.EncryptTo). Fragments of long messages wait in a [FragmentPool].
//
// # The home directory
//
// It looks like that of the first implementation:
//
//	dir.gz, dir-*.sig  the directory as it was downloaded, and its detached signatures
//	imported/          descriptors of servers, one per file
//	keys/keyring.txt   the secrets of the user's identities, encrypted (E2E-spec A.2)
//	keys/user-*.key    the user's own keys, encrypted with age, and their public halves in user-*.pub
//	surbs/used         which reply blocks were used, in a form of our own; surbs/log.* of 0.0.8 is kept up beside it
//	queue/             packets that wait to be sent, one per file, in a form of our own; those of 0.0.8 are taken over
//	fragments/         fragments of long messages, in a form of our own
//	lock               held by the one process that changes the directory
//
// Methods that change it say so, and fail with [ErrNotLocked] unless the client holds the lock: see [Client.Lock]. Those that only
// read need none, and find every file either as it was or as it will be. A Client may be used from several goroutines.
//
// # Errors and contexts
//
// Every error that a program may want to tell from others wraps an exported value, of this package or of one that it names, such as
// path.ErrNoExit and message.ErrNotForUs, to be asked for with errors.Is. These values, and what their being returned means for what
// is on the disk, do not change. The texts say to a person what to do; they name no recipient and no contents. When an error is
// returned nothing of the operation happened, unless the method says otherwise.
//
// What may take long, because of the network, many packets or somebody else's lock, takes a context, and ends soon after it does with an
// error that wraps the context's. Nothing in this package logs: what a user should know comes back as values.
package client
