// Package representation holds the one resource model of the gateway and its
// two encodings: the JSON and the XML of UCWA. It also chooses between them
// (Accept, Content-Type) and decodes what clients send.
//
// A Resource says what is the case: properties, links, embedded resources, in
// order. How a date, a list, an empty array or a self link looks is decided by
// the encoders alone, so that the two representations cannot drift apart.
//
// The package knows no particular resource, no route and no state; it never
// touches the network.
package representation
