/** Stormsight's models as LangChain4j asks them. They are opened and closed by whoever makes them. */
package stormsight.langchain4j;
