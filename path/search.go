package path

import "mixminion/internal/uniform"

// search finds a choice under the given rules if there is one, trying servers in random order, those that are not yet on the path first.
// It is the last resort for specifications that leave little room; its choices are not equally likely.
func (c *chooser) search(r rules) ([]*server, error) {
	c.steps = 0
	path := append([]*server(nil), c.slots...)
	if !r.mayRepeat && c.tooFew(path) {
		return nil, errStuck
	}
	found, err := c.searchFrom(0, path, r)
	if err == nil && !found {
		err = errStuck
	}
	return path, err
}

// tooFew reports whether the open slots of path outnumber the servers that are not on it.
func (c *chooser) tooFew(path []*server) bool {
	open, free := 0, 0
	for _, p := range path {
		if p == nil {
			open++
		}
	}
	for _, srv := range c.usable {
		if !containsSet(path, srv) {
			free++
		}
	}
	return open > free
}

func (c *chooser) searchFrom(i int, path []*server, r rules) (bool, error) {
	if c.steps++; c.steps > maxSteps || c.misfits > maxMisfits {
		return false, errStuck
	}
	if i == len(path) {
		return c.validEnd(path, r), nil
	}
	if c.slots[i] != nil {
		if !c.linked(path, i) {
			return false, nil
		}
		return c.searchFrom(i+1, path, r)
	}
	order, err := c.searchOrder(i, path, r)
	if err != nil {
		return false, err
	}
	for _, srv := range order {
		path[i] = srv
		if c.linked(path, i) {
			found, err := c.searchFrom(i+1, path, r)
			if found || err != nil {
				return found, err
			}
		}
	}
	path[i] = nil
	return false, nil
}

// searchOrder lists what to try at i: unused servers in random order, then, if the rules allow it, used ones.
func (c *chooser) searchOrder(i int, path []*server, r rules) ([]*server, error) {
	var unused, used []*server
	for _, srv := range c.candidates(i) {
		if c.related(path, srv) {
			continue
		}
		beside := i > 0 && path[i-1].same(srv) || i+1 < len(path) && path[i+1] != nil && path[i+1].same(srv)
		switch {
		case !containsSet(path, srv):
			unused = append(unused, srv)
		case r.mayRepeat && (!beside || r.mayBeAdjacent):
			used = append(used, srv)
		}
	}
	if err := uniform.ShuffleSlice(c.rnd, unused); err != nil {
		return nil, err
	}
	if err := uniform.ShuffleSlice(c.rnd, used); err != nil {
		return nil, err
	}
	return append(unused, used...), nil
}
