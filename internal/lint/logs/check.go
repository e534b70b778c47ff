package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
)

// A sink is a function whose arguments are logged, from the given one on.
type sinks map[string]int

// loggers are the methods and functions of package slog that make lines, with the first argument that is in the line.
func loggers() sinks {
	s := sinks{}
	for _, level := range []string{"Debug", "Info", "Warn", "Error"} {
		s["(*log/slog.Logger)."+level] = 0
		s["(*log/slog.Logger)."+level+"Context"] = 1
	}
	s["(*log/slog.Logger).Log"], s["(*log/slog.Logger).LogAttrs"], s["(*log/slog.Logger).With"] = 2, 2, 0
	return s
}

// checker looks at one package.
type checker struct {
	*source
	sinks    sinks
	made     map[types.Object][]ast.Expr // what local variables are set to
	problems []string
}

// check returns one "file:line: text" for each thing that should not be logged so.
func check(packages []*source) (problems []string) {
	s := loggers()
	for grown := true; grown; { // functions that hand on to functions that hand on
		grown = false
		for _, p := range packages {
			grown = p.forwarders(s) || grown
		}
	}
	for _, p := range packages {
		c := checker{source: p, sinks: s, made: p.assignments()}
		for _, f := range p.files {
			ast.Inspect(f, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					c.call(call)
				}
				return true
			})
		}
		problems = append(problems, c.problems...)
	}
	slices.Sort(problems)
	return slices.Compact(problems)
}

// callee is the full name of the function that is called; "" if it is none that has a name.
func (s *source) callee(call *ast.CallExpr) string {
	var id *ast.Ident
	switch f := ast.Unparen(call.Fun).(type) {
	case *ast.Ident:
		id = f
	case *ast.SelectorExpr:
		id = f.Sel
	}
	if f, ok := s.info.Uses[id].(*types.Func); ok && id != nil {
		return f.FullName()
	}
	return ""
}

// forwarders adds functions whose last parameter, "...any", goes to a sink as it is. It reports whether there were new ones.
func (s *source) forwarders(all sinks) (grown bool) {
	for _, f := range s.files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			sig := s.info.Defs[fn.Name].(*types.Func)
			params := sig.Signature().Params()
			if !sig.Signature().Variadic() {
				continue
			}
			last := params.At(params.Len() - 1)
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || !call.Ellipsis.IsValid() {
					return true
				}
				if _, ok := all[s.callee(call)]; !ok {
					return true
				}
				id, ok := call.Args[len(call.Args)-1].(*ast.Ident)
				if _, known := all[sig.FullName()]; ok && !known && s.info.Uses[id] == last {
					all[sig.FullName()] = firstText(params)
					grown = true
				}
				return true
			})
		}
	}
	return grown
}

// firstText is the index of the first parameter that is a text.
func firstText(params *types.Tuple) int {
	for i := range params.Len() - 1 {
		if isText(params.At(i).Type()) {
			return i
		}
	}
	return params.Len() - 1
}

// assignments finds what each variable of the package is set to.
func (s *source) assignments() map[types.Object][]ast.Expr {
	made := map[types.Object][]ast.Expr{}
	set := func(to, from ast.Expr) {
		if id, ok := to.(*ast.Ident); ok {
			o := s.info.Defs[id]
			if o == nil {
				o = s.info.Uses[id]
			}
			made[o] = append(made[o], from)
		}
	}
	for _, f := range s.files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for i, to := range n.Lhs {
					set(to, n.Rhs[min(i, len(n.Rhs)-1)])
				}
			case *ast.ValueSpec:
				for i, to := range n.Names {
					if len(n.Values) > 0 {
						set(to, n.Values[min(i, len(n.Values)-1)])
					}
				}
			case *ast.RangeStmt:
				for _, to := range []ast.Expr{n.Key, n.Value} {
					if to != nil {
						set(to, n.X)
					}
				}
			}
			return true
		})
	}
	return made
}

func (c *checker) report(at token.Pos, format string, args ...any) {
	p := c.fset.Position(at)
	file, err := filepath.Rel(c.dir, p.Filename)
	if err != nil {
		file = p.Filename
	}
	c.problems = append(c.problems, fmt.Sprintf("%s:%d: %s", file, p.Line, fmt.Sprintf(format, args...)))
}

// call checks one call, if it logs or makes an error.
func (c *checker) call(call *ast.CallExpr) {
	callee := c.callee(call)
	first, logs := c.sinks[callee]
	switch {
	case logs:
		args := call.Args[min(first, len(call.Args)):]
		if call.Ellipsis.IsValid() && len(args) > 0 {
			if _, ok := c.made[c.object(args[len(args)-1])]; !ok {
				args = args[:len(args)-1] // handed on; whoever calls is checked
			}
		}
		for _, arg := range args {
			c.logged(arg)
		}
	case strings.HasPrefix(callee, "log/slog.") && c.sinks["(*log/slog.Logger)."+callee[len("log/slog."):]] == 0 && isLevel(callee[len("log/slog."):]),
		strings.HasPrefix(callee, "log.Print"), strings.HasPrefix(callee, "log.Fatal"), strings.HasPrefix(callee, "log.Panic"):
		c.report(call.Pos(), "%s writes to a log that nothing is struck out of", callee)
	case callee == "fmt.Errorf" && c.handlesPackets():
		for _, arg := range call.Args {
			if t := c.info.TypeOf(arg); !isError(t) && isPrivate(t) && !isRecognized(t) {
				c.report(arg.Pos(), "an error, which may be logged, is made of a %s", t)
			}
		}
	}
}

func isLevel(name string) bool {
	_, ok := loggers()["(*log/slog.Logger)."+name]
	return ok
}

func (c *checker) handlesPackets() bool {
	path := strings.TrimPrefix(c.types.Path(), module)
	return slices.ContainsFunc(packetRooms, func(room string) bool { return path == room || strings.HasPrefix(path, room+"/") })
}

func (c *checker) object(e ast.Expr) types.Object {
	if id, ok := e.(*ast.Ident); ok {
		return c.info.Uses[id]
	}
	return nil
}

// logged checks a value that is given to a logger.
func (c *checker) logged(arg ast.Expr) {
	tv := c.info.Types[arg]
	switch t := tv.Type; {
	case tv.Value != nil || tv.IsNil():
	case name(t) == public:
		if call, ok := ast.Unparen(arg).(*ast.CallExpr); ok && c.info.Types[call.Fun].IsType() {
			c.text(call.Args[0], true, map[types.Object]bool{})
		}
	case name(t) == "log/slog.Attr" || name(t) == "log/slog.Value":
		if call, ok := ast.Unparen(arg).(*ast.CallExpr); ok {
			for _, a := range call.Args {
				c.logged(a)
			}
		}
	case isPrivate(t):
		c.report(arg.Pos(), "a %s is logged", t)
	case isPlain(t):
		c.number(arg)
	case isText(t):
		c.text(arg, false, map[types.Object]bool{})
	case isError(t), hasLogValue(t):
	default:
		c.report(arg.Pos(), "a %s is logged, which the log does not show; give it a LogValue, or log a text", t)
	}
}

// number checks that a number is no converted identifier.
func (c *checker) number(e ast.Expr) {
	if call, ok := ast.Unparen(e).(*ast.CallExpr); ok && c.info.Types[call.Fun].IsType() && isPrivate(c.info.TypeOf(call.Args[0])) {
		c.report(e.Pos(), "what is logged is a converted %s", c.info.TypeOf(call.Args[0]))
	}
}

// text checks that a text is not made of private values. isPublic says that its name may be telling.
func (c *checker) text(e ast.Expr, isPublic bool, seen map[types.Object]bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		part, ok := n.(ast.Expr)
		if !ok {
			return true
		}
		tv := c.info.Types[part]
		id, isID := part.(*ast.Ident)
		switch {
		case tv.Value != nil || tv.IsType():
			return false
		case isID:
			o := c.info.Uses[id]
			v, ok := o.(*types.Var)
			if !ok || seen[o] {
				return false
			}
			seen[o] = true
			if !isPublic && isText(v.Type()) && telling.MatchString(id.Name) {
				c.report(id.Pos(), "%s may name somebody; if it comes from the configuration or a directory, log it as logging.Public", id.Name)
			}
			if isTexts(v.Type()) && !v.IsField() {
				for _, from := range c.made[o] {
					c.text(from, isPublic, seen)
				}
			}
			if isPrivate(v.Type()) {
				c.report(e.Pos(), "what is logged is made of %s, a %s", id.Name, v.Type())
			}
			return false
		case tv.Type != nil && isPrivate(tv.Type):
			c.report(part.Pos(), "what is logged is made of a %s", tv.Type)
			return false
		case tv.Type != nil && isPlain(tv.Type):
			c.number(part)
			return false
		}
		if s, ok := part.(*ast.SelectorExpr); ok && tv.Type != nil {
			if !isPublic && isText(tv.Type) && telling.MatchString(s.Sel.Name) {
				c.report(s.Pos(), "%s may name somebody; if it comes from the configuration or a directory, log it as logging.Public", s.Sel.Name)
			}
			c.text(s.X, isPublic, seen)
			return false
		}
		return true
	})
}
