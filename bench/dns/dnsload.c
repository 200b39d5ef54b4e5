/*
 * Keeps true: latencies of DNS queries are taken by a client that costs far less than the server.
 * In: server, port, seconds, how many outstanding, how many names, and files of the network namespaces to ask from.
 * Out: one line of JSON; microseconds.
 * Rule: closed loop: an answer lets the next query go. One thread, one connected socket per namespace; n0, n1, … are asked in an
 * order that jumps.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST 1024
#define BUCKETS 200000 /* tenths of a microsecond, up to 20 ms; the last one holds the rest */
#define LOST_NS 1000000000ull

static uint64_t now_ns(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (uint64_t)at.tv_sec * 1000000000ull + at.tv_nsec;
}

static struct pollfd client[MOST];
static int clients;
static uint64_t sent[MOST];
static unsigned bucket[BUCKETS];
static unsigned long done, lost, wrong;
static uint64_t worst;

static void ask(int slot, unsigned names) {
  static unsigned n;
  unsigned char query[64] = {0};
  char label[16];
  n = (n + 7919) % names;
  int length = snprintf(label, sizeof label, "n%u", n);
  query[0] = slot >> 8;
  query[1] = slot & 255;
  query[2] = 1;
  query[5] = 1;
  query[12] = length;
  memcpy(query + 13, label, length);
  query[13 + length + 2] = 1;
  query[13 + length + 4] = 1;
  sent[slot] = now_ns();
  if (send(client[slot % clients].fd, query, 13 + length + 5, 0) < 0) lost++;
}

static double quantile(double share) {
  unsigned long upto = 0;
  for (int n = 0; n < BUCKETS; n++) {
    upto += bucket[n];
    if (upto >= share * done) return n / 10.0;
  }
  return BUCKETS / 10.0;
}

static int connect_from(const char *netns, const struct sockaddr_in *server) {
  int file = netns == NULL ? -1 : open(netns, O_RDONLY);
  if (netns != NULL && (file < 0 || setns(file, CLONE_NEWNET) < 0)) return -1;
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (file >= 0) close(file);
  return fd < 0 || connect(fd, (const void *)server, sizeof *server) < 0 ? -1 : fd;
}

static void take(int fd, int outstanding, unsigned names, uint64_t end) {
  unsigned char answer[4096];
  while (recv(fd, answer, sizeof answer, MSG_DONTWAIT) >= 12) {
    int slot = answer[0] << 8 | answer[1];
    if (slot >= outstanding) continue;
    uint64_t at = now_ns(), took = at - sent[slot];
    /* An answer with a record, or it is none. */
    if ((answer[3] & 15) != 0 || answer[7] == 0) wrong++;
    bucket[took / 100 < BUCKETS ? took / 100 : BUCKETS - 1]++;
    if (took > worst) worst = took;
    done++;
    if (at >= end) return;
    ask(slot, names);
  }
}

int main(int count, char **word) {
  if (count < 6) return fprintf(stderr, "dnsload SERVER PORT SECONDS OUTSTANDING NAMES [NETNS...]\n"), 2;
  int outstanding = atoi(word[4]);
  unsigned names = atoi(word[5]);
  struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(word[2]))};
  inet_aton(word[1], &server.sin_addr);
  clients = count > 6 ? count - 6 : 1;
  if (outstanding < clients || outstanding > MOST || names < 1) return 2;
  for (int n = 0; n < clients; n++) {
    client[n] = (struct pollfd){.fd = connect_from(count > 6 ? word[6 + n] : NULL, &server), .events = POLLIN};
    if (client[n].fd < 0) return perror("dnsload"), 1;
  }
  uint64_t start = now_ns(), end = start + (uint64_t)(atof(word[3]) * 1e9), checked = start;
  for (int slot = 0; slot < outstanding; slot++) ask(slot, names);
  for (uint64_t now = start; now < end; now = now_ns()) {
    poll(client, clients, 100);
    for (int n = 0; n < clients; n++)
      if (client[n].revents != 0) take(client[n].fd, outstanding, names, end);
    if ((now = now_ns()) - checked < LOST_NS / 4) continue;
    checked = now;
    for (int slot = 0; slot < outstanding; slot++)
      if (now - sent[slot] > LOST_NS) lost++, ask(slot, names);
  }
  double seconds = (now_ns() - start) / 1e9;
  printf("{\"qps\":%.0f,\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"worst\":%.1f,\"done\":%lu,\"lost\":%lu,\"wrong\":%lu}\n",
         done / seconds, quantile(0.5), quantile(0.99), quantile(0.999), worst / 1e3, done, lost, wrong);
  return 0;
}
