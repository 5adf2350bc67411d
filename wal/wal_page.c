/*
 * wal_page.c - the size of pages.
 */
#include "wal/wal_page.h"

uint32_t wal_page_size = 8192;
