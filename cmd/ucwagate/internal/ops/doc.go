// Package ops answers the internal listener, for the operator and the platform:
//
//	/              a page that shows how the gateway is doing; /status.json,
//	               /status.css, /status.js and /icon.svg belong to it
//	/metrics       whatever handler is given
//	/livez         200 as long as the process answers at all
//	/readyz        200, or 503 with what is missing and why
//	/startupz      503 until the gateway has started once
//	/debug/pprof/  profiles, if switched on
//
// What the page shows comes in through two small interfaces. The requests sent
// to Graph are sampled once a second, everything else is asked for while
// somebody looks. Problems reach it through Errors, which keeps their kinds, not
// their texts, and knows what to do about each.
//
// Nobody signs in here, so the package must never know a person: no name, no
// address and no object id reaches a page. It must never change anything either:
// only GET and HEAD are answered.
package ops
