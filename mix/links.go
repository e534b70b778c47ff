package mix

// links shares out the links to next hops. Half of them are kept for hops that have taken a packet since the start, and
// for those of the directory that have not failed since: whoever floods the mix with packets for hops that do not
// exist, or do not answer, must not hold up those that do.
type links struct {
	most    int             // at one time
	used    int             // by attempts that are running
	guesses int             // of those, at hops that have not worked yet
	works   map[string]bool // by queue
	guessed map[string]bool // running attempts that count as guesses
	listed  map[string]bool // by queue: in the directory
	failed  map[string]bool // listed ones that did not take a packet at the last attempt
}

// maxWorking bounds what is remembered; a network has far fewer mixes.
const maxWorking = 10000

// guess reports whether an attempt at a queue is one at a hop of which nothing good is known.
func (l *links) guess(queue string) bool {
	return !l.works[queue] && (!l.listed[queue] || l.failed[queue])
}

// mayGuess reports whether one more guess may have a link.
func (l *links) mayGuess() bool { return l.guesses < max(1, l.most/2) }

// setListed tells which hops, by queue, are in the directory.
func (l *links) setListed(listed map[string]bool) {
	failed := map[string]bool{}
	for queue := range l.failed {
		if listed[queue] {
			failed[queue] = true
		}
	}
	l.listed, l.failed = listed, failed
}

// take counts an attempt at a queue; false if there are enough already. Attempts at exits are not counted: there are few of them.
func (l *links) take(queue string) bool {
	if queue[0] != hopQueuePrefix {
		return true
	}
	guess := l.guess(queue)
	if l.used >= l.most || guess && !l.mayGuess() {
		return false
	}
	l.used++
	if guess {
		l.guesses++
		if l.guessed == nil {
			l.guessed = map[string]bool{}
		}
		l.guessed[queue] = true
	}
	return true
}

// giveBack ends an attempt that take counted. worked tells that the hop has taken a packet.
func (l *links) giveBack(queue string, worked bool) {
	if queue[0] != hopQueuePrefix {
		return
	}
	l.used--
	if l.guessed[queue] {
		l.guesses--
		delete(l.guessed, queue)
	}
	if !worked {
		delete(l.works, queue)
		if l.listed[queue] {
			l.failed[queue] = true
		}
		return
	}
	delete(l.failed, queue)
	if len(l.works) >= maxWorking {
		for other := range l.works {
			delete(l.works, other)
			break
		}
	}
	l.works[queue] = true
}
