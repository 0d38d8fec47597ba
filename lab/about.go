package lab

import "github.com/unnoise/unnoise/model"

// About returns what is known of a request's model before its weights are read, and how it samples where the request
// says nothing.
func (l *Lab) About(r Request) (model.Spec, model.Sampling, error) {
	<-l.turn
	defer func() { l.turn <- struct{}{} }()
	key, err := l.keyOf(&r)
	if err != nil {
		return model.Spec{}, r.Sampling, err
	}
	o, err := l.open(key)
	if err != nil {
		return model.Spec{}, r.Sampling, err
	}
	s, _, err := o.model.Plan(r.Sampling)
	return o.spec, s, err
}
