FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /ucwagate ./cmd/ucwagate

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /ucwagate /ucwagate
USER nonroot:nonroot
EXPOSE 8080
ENTRYPOINT ["/ucwagate"]
CMD ["serve", "--config", "/etc/ucwagate/ucwagate.yaml"]
